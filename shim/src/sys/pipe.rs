//! How much waits in a pipe.
//!
//! Owns: nothing. Never: reads.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// Bytes that a reader would get at once. 0: none, or its end.
pub(crate) fn waiting(pipe: impl AsFd) -> nix::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: the call writes one `int`, which outlives it.
    super::check(unsafe { libc::ioctl(pipe.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut count) })?;
    usize::try_from(count).map_err(|_| Errno::EINVAL)
}
