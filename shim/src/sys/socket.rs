//! Unix stream sockets that carry descriptors, and names longer than a socket address holds.
//!
//! Owns: `recvmsg` with its control messages, binding through a folder's descriptor. Never: reads a frame.

use std::{
    fs::File,
    io::IoSliceMut,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::Path,
};

use nix::{
    errno::Errno,
    sys::socket::{ControlMessageOwned, MsgFlags, getsockopt, recv, recvmsg, send, sockopt},
};

use crate::limits::DESCRIPTORS_WAITING_MAX;

/// What one read of a socket brought.
#[derive(Debug)]
pub(crate) struct Received {
    /// Bytes read; 0: the peer has closed.
    pub(crate) bytes: usize,
    /// Descriptors that came beside them, close-on-exec.
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Reads bytes and descriptors. ENOBUFS: more descriptors came than any peer of ours sends; some are lost.
pub(crate) fn receive(socket: impl AsFd, into: &mut [u8]) -> nix::Result<Received> {
    let mut space = nix::cmsg_space!([libc::c_int; DESCRIPTORS_WAITING_MAX]);
    let mut parts = [IoSliceMut::new(into)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut descriptors = Vec::new();
    let cut = message.flags.contains(MsgFlags::MSG_CTRUNC);
    // Where the list was cut, nix shows none of it; what the kernel installed is closed with the process, and the
    // connection's peer is no daemon of ours.
    for part in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            for number in numbers {
                // SAFETY: the kernel just installed this descriptor for us and nothing else knows it.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
    }
    if cut {
        return Err(Errno::ENOBUFS);
    }
    Ok(Received { bytes: message.bytes, descriptors })
}

/// Sends what fits now.
pub(crate) fn send_some(socket: impl AsFd, bytes: &[u8]) -> nix::Result<usize> {
    send(socket.as_fd().as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT)
}

/// Reads from a socket without waiting, whatever its flags, which another process may share.
pub(crate) fn receive_bytes(socket: impl AsFd, into: &mut [u8]) -> nix::Result<usize> {
    recv(socket.as_fd().as_raw_fd(), into, MsgFlags::MSG_DONTWAIT)
}

/// Whether the peer may give us orders: root or our own user.
pub(crate) fn is_trusted(socket: impl AsFd) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    getsockopt(&socket, sockopt::PeerCredentials).is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

/// Binds a socket in a folder of any length, replacing what a former life left there. The caller's umask decides
/// who may connect until the mode is set here, and the folder is the daemon's alone.
pub(crate) fn bind_in(folder: &Path, name: &str) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    let open = File::open(folder)?;
    let short = format!("/proc/self/fd/{}/{name}", open.as_raw_fd());
    match std::fs::remove_file(folder.join(name)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&short)?;
    std::fs::set_permissions(&short, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
