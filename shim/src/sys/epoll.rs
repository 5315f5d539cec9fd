//! The one place where a process waits: descriptors by what they are to it, handed out in the order in which they must
//! be looked at.
//!
//! Owns: the epoll set. Never: the descriptors; what their readiness means.

use std::{fmt::Debug, marker::PhantomData, os::fd::AsFd, time::Duration};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll as Set, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

use crate::{
    fault::{Because, Fault},
    limits::EVENTS_MAX,
};

/// What a descriptor is to its process. Its order is the order of work.
pub(crate) trait Mark: Copy + Debug + Ord {
    /// Its kind, and its number among those of its kind.
    fn to_parts(self) -> (u32, u32);

    /// The way back. `None`: there is no such kind.
    fn of_parts(kind: u32, number: u32) -> Option<Self>;
}

/// The epoll set.
#[derive(Debug)]
pub(crate) struct Epoll<M> {
    set: Set,
    marks: PhantomData<M>,
}

impl<M: Mark> Epoll<M> {
    /// An empty set.
    pub(crate) fn new() -> Result<Self, Fault> {
        let set = Set::new(EpollCreateFlags::EPOLL_CLOEXEC).because(|| "no epoll set can be made".into())?;
        Ok(Self { set, marks: PhantomData })
    }

    /// Watches a descriptor for reading.
    pub(crate) fn read(&self, fd: impl AsFd, mark: M) -> Result<(), Fault> {
        self.add(fd, mark, EpollFlags::EPOLLIN)
    }

    /// Watches a descriptor for room.
    pub(crate) fn write(&self, fd: impl AsFd, mark: M) -> Result<(), Fault> {
        self.add(fd, mark, EpollFlags::EPOLLOUT)
    }

    /// Watches a kernel file for a change, told once each.
    pub(crate) fn change(&self, fd: impl AsFd, mark: M) -> Result<(), Fault> {
        self.add(fd, mark, EpollFlags::EPOLLPRI | EpollFlags::EPOLLET)
    }

    /// Watches a connection for bytes, and for room where something waits to be sent.
    pub(crate) fn converse(&self, fd: impl AsFd, mark: M, has_output: bool) -> Result<(), Fault> {
        let mut flags = EpollFlags::EPOLLIN;
        flags.set(EpollFlags::EPOLLOUT, has_output);
        let mut event = EpollEvent::new(flags, data(mark));
        self.set.modify(fd, &mut event).because(|| format!("{mark:?} cannot be watched"))
    }

    /// Watches a descriptor no more. One that is not watched is as good.
    pub(crate) fn forget(&self, fd: impl AsFd) {
        self.set.delete(fd).ok();
    }

    /// Waits for something to happen, at most this long; what happened, in the order of work.
    pub(crate) fn wait(&self, at_most: Option<Duration>) -> Result<Vec<M>, Fault> {
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        let count = match self.set.wait(&mut events, timeout(at_most)) {
            Err(Errno::EINTR) => 0,
            other => other.because(|| "waiting for events failed".into())?,
        };
        let mut marks: Vec<M> = events[..count].iter().filter_map(|event| mark(event.data())).collect();
        marks.sort_unstable();
        Ok(marks)
    }

    fn add(&self, fd: impl AsFd, mark: M, flags: EpollFlags) -> Result<(), Fault> {
        self.set.add(fd, EpollEvent::new(flags, data(mark))).because(|| format!("{mark:?} cannot be watched"))
    }
}

/// Rounded up: waking a little early would mean waking twice.
fn timeout(at_most: Option<Duration>) -> EpollTimeout {
    match at_most {
        None => EpollTimeout::NONE,
        Some(Duration::ZERO) => EpollTimeout::ZERO,
        Some(time) => EpollTimeout::try_from(time.saturating_add(Duration::from_micros(999)))
            .unwrap_or(EpollTimeout::MAX),
    }
}

fn data(mark: impl Mark) -> u64 {
    let (kind, number) = mark.to_parts();
    u64::from(kind) << 32 | u64::from(number)
}

fn mark<M: Mark>(data: u64) -> Option<M> {
    let number = u32::try_from(data & u64::from(u32::MAX)).ok()?;
    M::of_parts(u32::try_from(data >> 32).ok()?, number)
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::net::UnixStream};

    use super::{Duration, Epoll, Mark, data, mark, timeout};

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Side {
        First(u32),
        Second,
    }

    impl Mark for Side {
        fn to_parts(self) -> (u32, u32) {
            match self {
                Self::First(number) => (0, number),
                Self::Second => (1, 0),
            }
        }

        fn of_parts(kind: u32, number: u32) -> Option<Self> {
            [Self::First(number), Self::Second].into_iter().find(|side| side.to_parts().0 == kind)
        }
    }

    #[test]
    fn a_mark_goes_through_the_kernels_word_and_back() {
        for side in [Side::First(0), Side::First(u32::MAX), Side::Second] {
            assert_eq!(mark(data(side)), Some(side));
        }
        assert_eq!(mark::<Side>(2 << 32), None);
    }

    #[test]
    fn what_is_ready_comes_in_the_order_of_work() {
        let set = Epoll::new().unwrap();
        let (mut first, ours_first) = UnixStream::pair().unwrap();
        let (mut second, ours_second) = UnixStream::pair().unwrap();
        set.read(&ours_second, Side::Second).unwrap();
        set.read(&ours_first, Side::First(7)).unwrap();
        assert_eq!(set.wait(Some(Duration::ZERO)).unwrap(), []);
        second.write_all(b"x").unwrap();
        first.write_all(b"x").unwrap();
        assert_eq!(set.wait(None).unwrap(), [Side::First(7), Side::Second]);
        set.forget(&ours_first);
        assert_eq!(set.wait(None).unwrap(), [Side::Second]);
    }

    #[test]
    fn a_wait_is_never_shorter_than_asked_for() {
        assert_eq!(timeout(Some(Duration::from_micros(1))), timeout(Some(Duration::from_millis(1))));
        assert_eq!(timeout(Some(Duration::from_micros(1001))), timeout(Some(Duration::from_millis(2))));
    }
}
