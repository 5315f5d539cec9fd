//! Packets with at most one descriptor, to and from the keeper, on a socket that keeps their bounds.
//!
//! Owns: the socket. Never: knows what a packet says.

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    path::Path,
};

use nix::{
    cmsg_space,
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, connect,
        getsockopt, recvmsg, sendmsg, socket, socketpair, sockopt,
    },
};
use tokio::io::{Interest, unix::AsyncFd};

/// Longest packet taken, in bytes: a list of some thousand places.
const PACKET_MAX: usize = 1 << 20;

/// One end of a packet socket.
#[derive(Debug)]
pub struct Packets(AsyncFd<OwnedFd>);

/// Two ends that are nobody's yet.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

impl Packets {
    /// Takes an end. Must be called inside the executor.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let flags = nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_GETFL)?;
        let flags = nix::fcntl::OFlag::from_bits_retain(flags) | nix::fcntl::OFlag::O_NONBLOCK;
        nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_SETFL(flags))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        // SAFETY: an owned descriptor gives the same open number until it is dropped, which the wrapper does last.
        Ok(Self(unsafe { AsyncFd::register_with_interest(fd, interest) }?))
    }

    /// Connects to the socket of this name in a folder, whose path may be longer than a socket's address.
    pub fn connect(folder: &Path, name: &str) -> io::Result<Self> {
        let open = File::open(folder)?;
        let short = format!("/proc/self/fd/{}/{name}", open.as_raw_fd());
        // Nonblocking: EAGAIN where nobody has accepted for long, instead of waiting for that.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        connect(fd.as_raw_fd(), &UnixAddr::new(short.as_str())?)?;
        Self::new(fd)
    }

    /// Process id of whoever made the other end, true when it did.
    pub fn peer(&self) -> io::Result<i32> {
        Ok(getsockopt(self.0.get_ref(), sockopt::PeerCredentials)?.pid())
    }

    /// Ends it for both sides.
    pub fn shutdown(&self) -> io::Result<()> {
        Ok(nix::sys::socket::shutdown(self.0.get_ref().as_raw_fd(), nix::sys::socket::Shutdown::Both)?)
    }

    /// Sends a packet.
    pub async fn send(&self, packet: &[u8], beside: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let numbers = beside.map(|fd| [fd.as_raw_fd()]);
        let work = |fd: &OwnedFd| {
            let rights = numbers.as_ref().map(|numbers| [ControlMessage::ScmRights(numbers)]);
            let rights: &[ControlMessage<'_>] = rights.as_ref().map_or(&[], |rights| rights);
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            sendmsg::<()>(fd.as_raw_fd(), &[IoSlice::new(packet)], rights, flags, None)?;
            Ok(())
        };
        self.0.async_io(Interest::WRITABLE, work).await
    }

    /// The next packet; empty: the other end is gone.
    pub async fn receive(&self) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
        self.0.async_io(Interest::READABLE, receive).await
    }
}

fn receive(fd: &OwnedFd) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut room = vec![0; PACKET_MAX];
    let mut control = cmsg_space!([i32; 1]);
    let (count, descriptor) = {
        let mut parts = [IoSliceMut::new(&mut room)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<()>(fd.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
        let mut descriptor = None;
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(numbers) = part {
                for number in numbers {
                    // SAFETY: the kernel just installed this descriptor for us and nothing else knows it.
                    descriptor = Some(unsafe { OwnedFd::from_raw_fd(number) });
                }
            }
        }
        (message.bytes, descriptor)
    };
    room.truncate(count);
    room.shrink_to_fit();
    Ok((room, descriptor))
}

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
