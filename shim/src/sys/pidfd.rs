//! Processes by descriptor: the only way a shim names one, since a number may name another tomorrow.
//!
//! Owns: pidfds and `waitid`. Never: signals a number.

use std::{
    cell::Cell,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    rc::Rc,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::check;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
    /// Somebody else has reaped it and does not say.
    Unknown,
}

impl Ended {
    /// For a message: by a signal, by nobody knows what, and the number of either.
    pub(crate) fn to_parts(self) -> (bool, bool, u32) {
        match self {
            Self::Code(code) => (false, false, code.into()),
            Self::Signal(signal) => (true, false, signal.into()),
            Self::Unknown => (false, true, 0),
        }
    }

    /// From what [`Ended::to_parts`] has made.
    pub(crate) fn of_parts(signaled: bool, unknown: bool, number: u32) -> Self {
        let number = u8::try_from(number).unwrap_or(u8::MAX);
        match (unknown, signaled) {
            (true, _) => Self::Unknown,
            (false, true) => Self::Signal(number),
            (false, false) => Self::Code(number),
        }
    }
}

/// What is known of a process that is another one's child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Its parent will tell its end.
    Waiting,
    /// It has.
    Ended(Ended),
    /// Its parent is gone: only the kernel can be asked. Since when it is seen to have ended.
    Orphaned(Option<Instant>),
}

/// How long a process that has ended, and of which /proc does not tell us how, may wait for a strange parent to reap it
/// before its status is given up: the kernel tells it only then, and some first processes reap every two seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// A process, whether it lives or waits to be reaped.
#[derive(Debug)]
pub(crate) struct PidFd {
    fd: OwnedFd,
    /// `None`: a child of our own, as far as that is known.
    told: Option<Rc<Cell<Told>>>,
}

impl PidFd {
    /// The process with this number now. Whoever calls must check that it is the one meant.
    pub(crate) fn open(pid: i32) -> nix::Result<Self> {
        // SAFETY: the call takes two plain numbers and touches no memory of ours.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0u32) };
        let fd = check(libc::c_int::try_from(fd).map_err(|_| Errno::EBADF)?)?;
        // SAFETY: the kernel just made this descriptor for us and nothing else knows it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, told: None })
    }

    /// A process that somebody handed us, a child of ours or not.
    pub(crate) fn of(fd: OwnedFd) -> Self {
        Self { fd, told: None }
    }

    /// A child of the keeper's, whose end is told through `told`.
    pub(crate) fn ward(fd: OwnedFd, told: Rc<Cell<Told>>) -> Self {
        Self { fd, told: Some(told) }
    }

    /// Whether its number still names it: nobody reaps it but us, or a keeper that asks first. One whose keeper is gone
    /// may be reaped by anybody when it has ended.
    pub(crate) fn has_its_number(&self) -> bool {
        match self.told.as_ref().map(|told| told.get()) {
            Some(Told::Orphaned(_)) => !self.has_ended(),
            Some(Told::Waiting | Told::Ended(_)) | None => true,
        }
    }

    fn has_ended(&self) -> bool {
        let mut polled = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    /// Whether its end comes by word, not by its descriptor.
    pub(crate) fn is_ward(&self) -> bool {
        self.told.is_some()
    }

    /// What the kernel says of one that is no child of ours: it still runs (`None`), or how it ended, where this
    /// kernel says so and its parent has reaped it.
    pub(crate) fn ask_kernel(&self, since: &mut Option<Instant>) -> Option<Ended> {
        let mut polled = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        let has_ended = poll(&mut polled, PollTimeout::ZERO).is_ok_and(|count| count > 0);
        if !has_ended {
            return None;
        }
        if let Some(ended) = super::pidfd_info::exit_status(self.as_fd()) {
            return Some(ended);
        }
        // It hangs up when it is reaped: then nothing more will be known.
        let is_reaped = polled[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP));
        let now = Instant::now();
        let is_over = now >= *since.get_or_insert(now) + PATIENCE;
        (is_reaped || is_over).then_some(Ended::Unknown)
    }

    /// Sends a signal, real-time ones too.
    pub(crate) fn signal(&self, signal: i32) -> nix::Result<()> {
        let info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open and ours; a null `info` is what the call documents for a plain signal.
        let sent =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.fd.as_raw_fd(), signal, info, 0u32) };
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
        if let Some(told) = &self.told {
            return Ok(match told.get() {
                Told::Waiting => None,
                Told::Ended(ended) => Some(ended),
                Told::Orphaned(mut since) => {
                    let ended = self.ask_kernel(&mut since);
                    told.set(ended.map_or(Told::Orphaned(since), Told::Ended));
                    ended
                }
            });
        }
        let id = libc::id_t::try_from(self.fd.as_raw_fd()).map_err(|_| Errno::EBADF)?;
        Ok(waitid(libc::P_PIDFD, id, more)?.map(|(_, ended)| ended))
    }
}

impl From<PidFd> for OwnedFd {
    fn from(process: PidFd) -> Self {
        process.fd
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
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
