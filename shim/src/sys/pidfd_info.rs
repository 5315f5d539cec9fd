//! How a process ended that another one has reaped, from the kernel's own memory of it.
//!
//! Owns: one call. Never: waits.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::pidfd::Ended;

/// `struct pidfd_info` in its first form, 64 bytes (Linux 6.13); later kernels fill what they are given room for.
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroupid: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// `PIDFD_INFO_EXIT`, Linux 6.15: the exit status of a process that is reaped.
const WANT_EXIT: u64 = 1 << 3;

/// `PIDFD_GET_INFO`: `_IOWR(0xFF, 11, struct pidfd_info)`.
const GET_INFO: libc::c_ulong = 3 << 30 | 64 << 16 | 0xff << 8 | 11;

/// `None`: this kernel does not say, or nobody has reaped it yet.
pub(crate) fn exit_status(process: BorrowedFd<'_>) -> Option<Ended> {
    let mut info = Info { mask: WANT_EXIT, ..Info::default() };
    // Not the C library's call, whose request is too narrow in one of the two.
    // SAFETY: the call writes at most the 64 bytes that its number names, and the struct has them.
    let done = unsafe { libc::syscall(libc::SYS_ioctl, process.as_raw_fd(), GET_INFO, &raw mut info) };
    if done < 0 || info.mask & WANT_EXIT == 0 {
        return None;
    }
    let signal = u8::try_from(info.exit_code & 0x7f).ok()?;
    let code = u8::try_from(info.exit_code >> 8 & 0xff).ok()?;
    Some(if signal == 0 { Ended::Code(code) } else { Ended::Signal(signal) })
}
