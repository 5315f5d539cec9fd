//! The unsafe fence of the static program: raw system calls, raw descriptors, numbers that C made up.
//!
//! Owns: a safe door for each call that nix has none for. Never: policy; a decision about a container.

pub(crate) mod arena;
pub(crate) mod birth;
pub(crate) mod children;
pub(crate) mod clock;
pub(crate) mod confine;
pub(crate) mod epoll;
pub(crate) mod memory;
pub(crate) mod network;
pub(crate) mod packet;
pub(crate) mod pidfd;
pub(crate) mod pidfd_info;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod socket;
pub(crate) mod terminal;

use nix::errno::Errno;

/// Size of a page on every machine we build for; a larger one only makes calls that give pages back fail.
const PAGE: usize = 4096;

/// The result of a call that returns -1 and `errno`.
fn check(result: libc::c_int) -> nix::Result<libc::c_int> {
    Errno::result(result)
}

/// Random bytes of the kernel's. Before its pool is filled, at the very start of a host, they stay as they are.
pub(crate) fn random(into: &mut [u8]) {
    // SAFETY: the buffer is writable for its length; without flags and after boot the call neither waits nor fails.
    unsafe { libc::getrandom(into.as_mut_ptr().cast(), into.len(), libc::GRND_NONBLOCK) };
}
