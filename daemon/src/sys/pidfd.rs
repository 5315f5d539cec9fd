//! Killing a process by a handle that cannot come to mean another one.
//!
//! Never: signals by number.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{Interest, unix::AsyncFd};

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
