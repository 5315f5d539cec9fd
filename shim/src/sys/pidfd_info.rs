//! How a process ended that is another one's child: from /proc while it waits to be reaped, after that from the kernel's
//! memory of it.
//!
//! Owns: the looking. Never: waits.

use std::{
    fs,
    os::fd::{AsRawFd, BorrowedFd},
    path::Path,
};

use protocol::zombie;

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

/// Of a process that has ended. `None`: nobody can tell, or not yet.
pub(crate) fn exit_status(process: BorrowedFd<'_>) -> Option<Ended> {
    let status = remembered(process).or_else(|| of_zombie(process)).or_else(|| remembered(process))?;
    let signal = u8::try_from(status & 0x7f).ok()?;
    let code = u8::try_from(status >> 8 & 0xff).ok()?;
    Some(if signal == 0 { Ended::Code(code) } else { Ended::Signal(signal) })
}

fn remembered(process: BorrowedFd<'_>) -> Option<i32> {
    let mut info = Info { mask: WANT_EXIT, ..Info::default() };
    // Not the C library's call, whose request is too narrow in one of the two.
    // SAFETY: the call writes at most the 64 bytes that its number names, and the struct has them.
    let done = unsafe { libc::syscall(libc::SYS_ioctl, process.as_raw_fd(), GET_INFO, &raw mut info) };
    (done >= 0 && info.mask & WANT_EXIT != 0).then_some(info.exit_code)
}

fn of_zombie(process: BorrowedFd<'_>) -> Option<i32> {
    let number =
        || zombie::pid(&fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd())).ok()?);
    let pid = number()?;
    let own = Path::new("/proc").join(pid.to_string());
    let status = zombie::wait_status(&fs::read_to_string(own.join("stat")).ok()?)?;
    // Behind the same check of the kernel's as the status, which would be 0 for us otherwise.
    fs::read_link(own.join("ns/user")).ok()?;
    // Not reaped up to now: the number meant this one all the time.
    (number() == Some(pid)).then_some(status)
}

#[cfg(test)]
mod tests {
    use std::{os::fd::AsFd, process::Command};

    use super::{Ended, exit_status, of_zombie};
    use crate::sys::pidfd::PidFd;

    #[test]
    fn a_zombie_tells_how_it_ended_and_a_reaped_one_does_not() {
        for (script, status, told) in [
            ("exit 7", 7 << 8, Ended::Code(7)),
            ("kill -9 $$", 9, Ended::Signal(9)),
            ("true", 0, Ended::Code(0)),
        ] {
            let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
            let handle = PidFd::open(i32::try_from(child.id()).unwrap()).unwrap();
            while handle.peek().unwrap().is_none() {
                std::thread::yield_now();
            }
            assert_eq!(of_zombie(handle.as_fd()), Some(status));
            assert_eq!(exit_status(handle.as_fd()), Some(told));
            child.wait().unwrap();
            assert_eq!(of_zombie(handle.as_fd()), None);
        }
    }
}
