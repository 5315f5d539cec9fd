//! The one place where the shim waits: descriptors by what they are to it, handed out in the order in which they
//! must be looked at.
//!
//! Owns: the epoll set. Never: the descriptors; what their readiness means.

use std::{os::fd::AsFd, time::Duration};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

use crate::{
    fault::{Because, Fault},
    limits::EVENTS_MAX,
};

/// What a descriptor is to the shim. Numbered ones are never reused, so a late event finds nobody.
///
/// The order is the order of work: output before calls, so that a reopened log holds what was written before;
/// endings last, so that the last output is in the log before the exit is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The container's stdout (0) or stderr (1).
    Output(u32),
    /// What a runtime's command says.
    Words(u32),
    /// The container's stdin has room.
    Stdin,
    /// Something that feeds stdin.
    Feed(u32),
    /// A runtime connects to the console socket, or sends on it.
    Console,
    /// The kernel counted an out-of-memory event.
    Oom,
    /// Somebody connects to the control socket.
    Listener,
    /// A connection.
    Connection(u32),
    /// The keeper says something.
    Keeper,
    /// A runtime's create, undo or start has ended.
    Command,
    /// An exec's command or process has ended.
    Exec(u32),
    /// The init process has ended.
    Init,
    /// Some child has ended.
    Child,
}

/// The epoll set.
#[derive(Debug)]
pub(crate) struct Poll {
    epoll: Epoll,
}

impl Poll {
    /// An empty set.
    pub(crate) fn new() -> Result<Self, Fault> {
        let epoll =
            Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).because(|| "no epoll set can be made".into())?;
        Ok(Self { epoll })
    }

    /// Watches a descriptor for reading.
    pub(crate) fn read(&self, fd: impl AsFd, source: Source) -> Result<(), Fault> {
        self.add(fd, source, EpollFlags::EPOLLIN)
    }

    /// Watches a descriptor for room.
    pub(crate) fn write(&self, fd: impl AsFd, source: Source) -> Result<(), Fault> {
        self.add(fd, source, EpollFlags::EPOLLOUT)
    }

    /// Watches a kernel file for a change, told once each.
    pub(crate) fn change(&self, fd: impl AsFd, source: Source) -> Result<(), Fault> {
        self.add(fd, source, EpollFlags::EPOLLPRI | EpollFlags::EPOLLET)
    }

    /// Watches a connection for bytes, and for room where something waits to be sent.
    pub(crate) fn converse(&self, fd: impl AsFd, source: Source, has_output: bool) -> Result<(), Fault> {
        let mut flags = EpollFlags::EPOLLIN;
        flags.set(EpollFlags::EPOLLOUT, has_output);
        let mut event = EpollEvent::new(flags, encode(source));
        self.epoll.modify(fd, &mut event).because(|| format!("{source:?} cannot be watched"))
    }

    /// Watches a descriptor no more. One that is not watched is as good.
    pub(crate) fn forget(&self, fd: impl AsFd) {
        self.epoll.delete(fd).ok();
    }

    /// Waits for something to happen, at most this long; what happened, in the order of work.
    pub(crate) fn wait(&self, at_most: Option<Duration>) -> Result<Vec<Source>, Fault> {
        // Rounded up: waking a little early would mean waking twice.
        let timeout = at_most.map_or(EpollTimeout::NONE, |time| {
            EpollTimeout::try_from(time.saturating_add(Duration::from_micros(999)))
                .unwrap_or(EpollTimeout::MAX)
        });
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        let count = match self.epoll.wait(&mut events, timeout) {
            Err(Errno::EINTR) => 0,
            other => other.because(|| "waiting for events failed".into())?,
        };
        let mut sources: Vec<Source> =
            events[..count].iter().filter_map(|event| decode(event.data())).collect();
        sources.sort_unstable();
        Ok(sources)
    }

    fn add(&self, fd: impl AsFd, source: Source, flags: EpollFlags) -> Result<(), Fault> {
        self.epoll
            .add(fd, EpollEvent::new(flags, encode(source)))
            .because(|| format!("{source:?} cannot be watched"))
    }
}

fn encode(source: Source) -> u64 {
    let (kind, number) = match source {
        Source::Output(number) => (0, number),
        Source::Words(number) => (1, number),
        Source::Stdin => (2, 0),
        Source::Feed(number) => (3, number),
        Source::Console => (4, 0),
        Source::Oom => (5, 0),
        Source::Listener => (6, 0),
        Source::Connection(number) => (7, number),
        Source::Command => (8, 0),
        Source::Exec(number) => (9, number),
        Source::Init => (10, 0),
        Source::Child => (11, 0),
        Source::Keeper => (12, 0),
    };
    (kind << 32) | u64::from(number)
}

fn decode(data: u64) -> Option<Source> {
    let number = u32::try_from(data & u64::from(u32::MAX)).ok()?;
    Some(match data >> 32 {
        0 => Source::Output(number),
        1 => Source::Words(number),
        2 => Source::Stdin,
        3 => Source::Feed(number),
        4 => Source::Console,
        5 => Source::Oom,
        6 => Source::Listener,
        7 => Source::Connection(number),
        8 => Source::Command,
        9 => Source::Exec(number),
        10 => Source::Init,
        11 => Source::Child,
        12 => Source::Keeper,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Source, decode, encode};

    #[test]
    fn every_source_comes_back() {
        let sources = [
            Source::Output(1),
            Source::Words(1),
            Source::Stdin,
            Source::Feed(7),
            Source::Console,
            Source::Oom,
            Source::Listener,
            Source::Connection(u32::MAX),
            Source::Command,
            Source::Exec(9),
            Source::Init,
            Source::Child,
            Source::Keeper,
        ];
        for source in sources {
            assert_eq!(decode(encode(source)), Some(source));
        }
        assert_eq!(decode(13 << 32), None);
    }
}
