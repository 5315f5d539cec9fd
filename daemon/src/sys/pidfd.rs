//! Killing a process by a handle that cannot come to mean another one.
//!
//! Never: signals by number.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use protocol::zombie;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{Interest, unix::AsyncFd};

/// `struct pidfd_info` in its first form (Linux 6.13).
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroupid: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// `PIDFD_INFO_EXIT`.
const WANT_EXIT: u64 = 1 << 3;

/// `PIDFD_GET_INFO`: `_IOWR(0xFF, 11, struct pidfd_info)`.
const GET_INFO: nix::libc::c_ulong = 3 << 30 | 64 << 16 | 0xff << 8 | 11;

/// A handle to a process.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Opens a handle; `None`: there is no such process. The caller must check, after opening, that it is the
    /// process it means.
    pub fn open(pid: i32) -> io::Result<Option<Self>> {
        // Never the init of the host, nor a process group.
        let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 1) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(Self(fd))),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// A handle that somebody else opened.
    pub fn of(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.ends_within(Duration::ZERO).unwrap_or(false)
    }

    /// How it ended: its wait status (wait(2)), whoever its parent is. From /proc while it waits to be reaped; after that
    /// from the kernel's memory of it (`PIDFD_INFO_EXIT`, Linux 6.15). `None`: it runs, or nobody can tell any more.
    pub fn wait_status(&self) -> Option<i32> {
        self.remembered().or_else(|| self.of_zombie()).or_else(|| self.remembered())
    }

    fn of_zombie(&self) -> Option<i32> {
        if !self.has_ended() {
            return None;
        }
        let pid = self.pid()?;
        let own = Path::new("/proc").join(pid.to_string());
        let status = zombie::wait_status(&fs::read_to_string(own.join("stat")).ok()?)?;
        // Behind the same check of the kernel's as the status, which would be 0 for us otherwise.
        fs::read_link(own.join("ns/user")).ok()?;
        // Not reaped up to now: the number meant this one all the time.
        (self.pid() == Some(pid)).then_some(status)
    }

    fn pid(&self) -> Option<i32> {
        zombie::pid(&fs::read_to_string(format!("/proc/self/fdinfo/{}", self.0.as_raw_fd())).ok()?)
    }

    fn remembered(&self) -> Option<i32> {
        let mut info = Info { mask: WANT_EXIT, ..Info::default() };
        // SAFETY: the call writes at most the 64 bytes that its number names, and the struct has them.
        let done = unsafe { nix::libc::ioctl(self.0.as_raw_fd(), GET_INFO, &raw mut info) };
        (done >= 0 && info.mask & WANT_EXIT != 0).then_some(info.exit_code)
    }

    /// Comes back when it has ended. Holds no thread meanwhile.
    pub async fn ended(self) -> io::Result<()> {
        // SAFETY: an owned descriptor gives the same open number until it is dropped, which the wrapper does last.
        let handle = unsafe { AsyncFd::register_with_interest(self.0, Interest::READABLE) }?;
        handle.readable().await.map(drop)
    }

    /// Waits until it has ended, at most this long; whether it has.
    pub fn ends_within(&self, patience: Duration) -> io::Result<bool> {
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        Ok(poll(&mut fds, timeout)? > 0)
    }

    /// SIGKILL. Finds it gone: fine.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.0, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}
