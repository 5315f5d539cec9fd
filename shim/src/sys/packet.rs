//! Packets: messages with at most one descriptor, on a socket that keeps their bounds.
//!
//! Owns: the socket. Never: waits; knows what a message says.

use std::{
    io::IoSlice,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::net::UnixListener,
    },
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
    sys::socket::{
        AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, accept4, getsockopt, sendmsg,
        socketpair, sockopt,
    },
};

use super::socket;

/// Longest packet in bytes: an id, a failure's text, and numbers.
pub(crate) const PACKET_MAX: usize = 16 * 1024;

/// How long a peer may take to make room, in milliseconds: a process that was just started reads within a few.
const SEND_WAIT: u16 = 1000;

/// One end of a packet socket.
#[derive(Debug)]
pub(crate) struct Packets(OwnedFd);

impl Packets {
    /// Two ends.
    pub(crate) fn pair() -> nix::Result<(Self, Self)> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Self(one), Self(other)))
    }

    /// A descriptor that came from elsewhere. EPROTOTYPE: it is no packet socket.
    pub(crate) fn from(fd: OwnedFd) -> nix::Result<Self> {
        match getsockopt(&fd, sockopt::SockType)? {
            SockType::SeqPacket => Ok(Self(fd)),
            _ => Err(Errno::EPROTOTYPE),
        }
    }

    /// Somebody who connected. `None`: nobody has, or not with our rights. An error: no descriptor is left for it.
    pub(crate) fn accept(listener: &UnixListener) -> nix::Result<Option<Self>> {
        use std::os::fd::FromRawFd;
        let number = match accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNABORTED) => return Ok(None),
            other => other?,
        };
        // SAFETY: the kernel just made this descriptor for us and nothing else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        Ok(socket::is_trusted(&fd).then_some(Self(fd)))
    }

    /// Sends a packet, now or not at all: EAGAIN where the peer does not read.
    pub(crate) fn send(&self, packet: &[u8], beside: Option<BorrowedFd<'_>>) -> nix::Result<()> {
        let numbers = beside.map(|fd| [fd.as_raw_fd()]);
        let rights = numbers.as_ref().map(|numbers| [ControlMessage::ScmRights(numbers)]);
        let rights: &[ControlMessage<'_>] = rights.as_ref().map_or(&[], |rights| rights);
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(packet)], rights, flags, None).map(drop)
    }

    /// Sends a packet to a peer that reads, but may be behind: waits a moment for room.
    pub(crate) fn send_within(&self, packet: &[u8], beside: Option<BorrowedFd<'_>>) -> nix::Result<()> {
        match self.send(packet, beside) {
            Err(Errno::EAGAIN) => {
                let mut polled = [PollFd::new(self.as_fd(), PollFlags::POLLOUT)];
                poll(&mut polled, SEND_WAIT)?;
                self.send(packet, beside)
            }
            other => other,
        }
    }

    /// The next packet; empty: the peer is gone. EAGAIN: there is none.
    pub(crate) fn receive(&self) -> nix::Result<(Vec<u8>, Option<OwnedFd>)> {
        let mut room = vec![0; PACKET_MAX];
        let received = socket::receive(&self.0, &mut room)?;
        room.truncate(received.bytes);
        Ok((room, received.descriptors.into_iter().next()))
    }
}

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Packets> for OwnedFd {
    fn from(packets: Packets) -> Self {
        packets.0
    }
}
