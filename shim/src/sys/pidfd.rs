//! Processes by descriptor: the only way a shim names one, since a number may name another tomorrow.
//!
//! Owns: pidfds and `waitid`. Never: signals a number.

use std::{
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use nix::errno::Errno;

use super::check;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
}

/// A process, whether it lives or waits to be reaped.
#[derive(Debug)]
pub(crate) struct PidFd(OwnedFd);

impl PidFd {
    /// The process with this number now. Whoever calls must check that it is the one meant.
    pub(crate) fn open(pid: i32) -> nix::Result<Self> {
        // SAFETY: the call takes two plain numbers and touches no memory of ours.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0u32) };
        let fd = check(libc::c_int::try_from(fd).map_err(|_| Errno::EBADF)?)?;
        // SAFETY: the kernel just made this descriptor for us and nothing else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends a signal, real-time ones too.
    pub(crate) fn signal(&self, signal: i32) -> nix::Result<()> {
        let info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open and ours; a null `info` is what the call documents for a plain signal.
        let sent =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal, info, 0u32) };
        check(libc::c_int::try_from(sent).map_err(|_| Errno::EINVAL)?).map(drop)
    }

    /// SIGKILL; that it is gone already is as good.
    pub(crate) fn kill(&self) {
        // ESRCH is the only way to fail: we may signal our own children's trees.
        self.signal(libc::SIGKILL).ok();
    }

    /// How it ended, if it has, without reaping it. ECHILD: it is no child of ours.
    pub(crate) fn peek(&self) -> nix::Result<Option<Ended>> {
        self.wait(libc::WNOWAIT)
    }

    /// How it ended, if it has; it is reaped.
    pub(crate) fn reap(&self) -> nix::Result<Option<Ended>> {
        self.wait(0)
    }

    fn wait(&self, more: libc::c_int) -> nix::Result<Option<Ended>> {
        let id = libc::id_t::try_from(self.0.as_raw_fd()).map_err(|_| Errno::EBADF)?;
        Ok(waitid(libc::P_PIDFD, id, more)?.map(|(_, ended)| ended))
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The first child, of whatever origin, that waits to be reaped; it goes on waiting.
pub(crate) fn peek_any() -> nix::Result<Option<i32>> {
    Ok(waitid(libc::P_ALL, 0, libc::WNOWAIT)?.map(|(pid, _)| pid))
}

/// Whether the child of this number waits to be reaped; it goes on waiting.
pub(crate) fn is_zombie_child(pid: i32) -> bool {
    libc::id_t::try_from(pid).is_ok_and(|id| matches!(waitid(libc::P_PID, id, libc::WNOWAIT), Ok(Some(_))))
}

/// Reaps the child of this number. Safe by number, since a child's number is not used again before it is reaped.
pub(crate) fn reap_child(pid: i32) {
    if let Ok(id) = libc::id_t::try_from(pid) {
        waitid(libc::P_PID, id, 0).ok();
    }
}

/// nix's own wrapper refuses a status that names a real-time signal, so this asks the C library.
fn waitid(kind: libc::idtype_t, id: libc::id_t, more: libc::c_int) -> nix::Result<Option<(i32, Ended)>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | more;
    // SAFETY: `info` is writable and as large as the call expects.
    check(unsafe { libc::waitid(kind, id, info.as_mut_ptr(), options) })?;
    // SAFETY: all zeroes is a valid value of this plain C struct, and the call only wrote over it.
    let info = unsafe { info.assume_init() };
    // SAFETY: waitid fills the SIGCHLD part of the union, or leaves it zero where no child was ready.
    let pid = unsafe { info.si_pid() };
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    let status = u8::try_from(status & 0xff).map_err(|_| Errno::EINVAL)?;
    let ended = if info.si_code == libc::CLD_EXITED { Ended::Code(status) } else { Ended::Signal(status) };
    Ok(Some((pid, ended)))
}
