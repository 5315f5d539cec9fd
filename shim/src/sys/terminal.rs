//! The master side of a pseudo terminal.
//!
//! Owns: two ioctls. Never: reads or writes it.

use std::os::fd::{AsFd, AsRawFd};

use super::check;

/// Whether a descriptor is the master side of a pseudo terminal, and nothing that a runtime mistook for one.
pub(crate) fn is_master(fd: impl AsFd) -> bool {
    let mut number: libc::c_uint = 0;
    // SAFETY: the ioctl writes one unsigned int, which `number` is; other devices refuse it.
    check(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCGPTN, &raw mut number) }).is_ok()
}

/// Sets the size in character cells; the foreground processes get SIGWINCH.
pub(crate) fn resize(fd: impl AsFd, columns: u16, rows: u16) -> nix::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the ioctl reads one winsize, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}
