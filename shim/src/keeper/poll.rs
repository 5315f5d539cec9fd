//! The one place where the keeper waits.
//!
//! Owns: the epoll set. Never: the descriptors.

use std::{os::fd::AsFd, time::Duration};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

use crate::{
    fault::{Because, Fault},
    limits::EVENTS_MAX,
};

/// What a descriptor is to the keeper. Numbers are never used twice, so a late event finds nobody.
///
/// The order is the order of work: what was said counts before that its sayer has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A shim says something.
    Channel(u32),
    /// A shim may have ended.
    Shim(u32),
    /// A process that a killed shim left may have ended.
    Ward(u32),
    /// A daemon orders something.
    Daemon(u32),
    /// A daemon connects.
    Listener,
    /// Some child has ended.
    Child,
}

/// The epoll set.
#[derive(Debug)]
pub(crate) struct Poll(Epoll);

impl Poll {
    /// An empty set.
    pub(crate) fn new() -> Result<Self, Fault> {
        Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).because(|| "no epoll set can be made".into()).map(Self)
    }

    /// Watches a descriptor for reading.
    pub(crate) fn read(&self, fd: impl AsFd, source: Source) -> Result<(), Fault> {
        self.0
            .add(fd, EpollEvent::new(EpollFlags::EPOLLIN, encode(source)))
            .because(|| format!("{source:?} cannot be watched"))
    }

    /// Watches a descriptor no more. One that is not watched is as good.
    pub(crate) fn forget(&self, fd: impl AsFd) {
        self.0.delete(fd).ok();
    }

    /// Waits for something to happen, at most this long; what happened, in the order of work.
    pub(crate) fn wait(&self, at_most: Option<Duration>) -> Result<Vec<Source>, Fault> {
        // Rounded up: waking a little early would mean waking twice.
        let timeout = at_most.map_or(EpollTimeout::NONE, |time| {
            EpollTimeout::try_from(time.saturating_add(Duration::from_micros(999)))
                .unwrap_or(EpollTimeout::MAX)
        });
        let timeout = if at_most == Some(Duration::ZERO) { EpollTimeout::ZERO } else { timeout };
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        let count = match self.0.wait(&mut events, timeout) {
            Err(Errno::EINTR) => 0,
            other => other.because(|| "waiting for events failed".into())?,
        };
        let mut sources: Vec<Source> =
            events[..count].iter().filter_map(|event| decode(event.data())).collect();
        sources.sort_unstable();
        Ok(sources)
    }
}

fn encode(source: Source) -> u64 {
    let (kind, number) = match source {
        Source::Channel(number) => (0, number),
        Source::Shim(number) => (1, number),
        Source::Ward(number) => (2, number),
        Source::Daemon(number) => (3, number),
        Source::Listener => (4, 0),
        Source::Child => (5, 0),
    };
    (kind << 32) | u64::from(number)
}

fn decode(data: u64) -> Option<Source> {
    let number = u32::try_from(data & u64::from(u32::MAX)).ok()?;
    Some(match data >> 32 {
        0 => Source::Channel(number),
        1 => Source::Shim(number),
        2 => Source::Ward(number),
        3 => Source::Daemon(number),
        4 => Source::Listener,
        5 => Source::Child,
        _ => return None,
    })
}
