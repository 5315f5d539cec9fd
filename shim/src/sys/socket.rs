//! Unix stream sockets that carry descriptors, and names longer than a socket address holds.
//!
//! Owns: `recvmsg` with its control messages, binding through a folder's descriptor. Never: reads a frame.

use std::{
    fs::File,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::Path,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{MsgFlags, getsockopt, recv, send, sockopt},
};

/// What one read of a socket brought.
#[derive(Debug)]
pub(crate) struct Received {
    /// Bytes read; 0: the peer has closed.
    pub(crate) bytes: usize,
    /// Descriptors that came beside them, close-on-exec.
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Most descriptors that Linux lets one message carry (`SCM_MAX_FD`): with room for all, none is ever installed here
/// without our seeing it.
const RIGHTS_MAX: usize = 253;

/// Room for one control message of that many, in words, which are aligned as its head must be.
const CONTROL_WORDS: usize = 8 + RIGHTS_MAX * size_of::<libc::c_int>() / size_of::<u64>();

/// Reads bytes and descriptors. ENOBUFS: some descriptors were lost, because this process may have no more.
///
/// Not nix's call: where a list was cut, that shows none of it, and what the kernel installed would stay open.
pub(crate) fn receive(socket: impl AsFd, into: &mut [u8]) -> nix::Result<Received> {
    let mut control = [0u64; CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: all zeroes is a valid value of this plain C struct.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    #[allow(clippy::useless_conversion, reason = "the field is narrower in the other C library")]
    let room = size_of_val(&control).try_into().map_err(|_| Errno::EINVAL)?;
    message.msg_controllen = room;
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: the message names one writable buffer and one writable control area, both alive and of these lengths.
    let bytes = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, flags) };
    let bytes = usize::try_from(bytes).map_err(|_| Errno::last())?;
    let descriptors = rights(&message);
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(Errno::ENOBUFS);
    }
    Ok(Received { bytes, descriptors })
}

/// The descriptors that a received message installed here.
fn rights(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    // SAFETY: the kernel filled the control area that the message names, and it is still alive.
    let mut head = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !head.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR only return heads that lie in the control area.
        let part = unsafe { head.read() };
        if part.cmsg_level == libc::SOL_SOCKET && part.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: plain arithmetic on a length.
            let before = unsafe { libc::CMSG_LEN(0) };
            #[allow(clippy::useless_conversion, reason = "the field is narrower in the other C library")]
            let length = usize::try_from(part.cmsg_len).unwrap_or(0);
            let count =
                length.saturating_sub(usize::try_from(before).unwrap_or(length)) / size_of::<libc::c_int>();
            // SAFETY: the data follows its head in the control area.
            let data = unsafe { libc::CMSG_DATA(head) }.cast::<libc::c_int>();
            for at in 0..count {
                // SAFETY: the kernel wrote `count` numbers from `data` on.
                let place = unsafe { data.add(at) };
                // SAFETY: as above; nothing is said of their alignment.
                let number = unsafe { place.read_unaligned() };
                // SAFETY: the kernel just installed this descriptor for us and nothing else knows it.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
        // SAFETY: as for the first head.
        head = unsafe { libc::CMSG_NXTHDR(message, head) };
    }
    descriptors
}

/// Sends what fits now.
pub(crate) fn send_some(socket: impl AsFd, bytes: &[u8]) -> nix::Result<usize> {
    send(socket.as_fd().as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT)
}

/// Reads from a socket without waiting, whatever its flags, which another process may share.
pub(crate) fn receive_bytes(socket: impl AsFd, into: &mut [u8]) -> nix::Result<usize> {
    recv(socket.as_fd().as_raw_fd(), into, MsgFlags::MSG_DONTWAIT)
}

/// Whether the peer has closed its end, or is dead: what it had sent before may still be there to be read.
pub(crate) fn has_hung_up(socket: impl AsFd) -> bool {
    // Told whether asked for or not (poll(2)).
    let mut looked = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    // Where even that fails, nothing is begun.
    poll(&mut looked, PollTimeout::ZERO).is_err() || looked[0].any().unwrap_or(true)
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
