//! Watches a container's cgroup for kills by the kernel for want of memory, on either version, without ever waking
//! up otherwise.
//!
//! Owns: the watch and the counter. Never: kills; says why something was killed.

use std::{
    fs::File,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::Instant,
};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{
    kill,
    launch::Groups,
    poll::{Poll, Source},
};
use crate::limits::OOM_LOOK_AGAIN;

/// The watch.
#[derive(Debug, Default)]
pub(crate) struct Oom {
    /// The kernel's file with the counter.
    counter: Option<PathBuf>,
    watch: Option<Watch>,
    /// Highest count seen: a group that is gone has no file any more.
    kills: u32,
    look_again: Option<Instant>,
}

#[derive(Debug)]
enum Watch {
    /// Version 1: an event is added to an eventfd.
    Event(EventFd),
    /// Version 2: the counter's own file is told of by POLLPRI.
    File(File),
}

impl Oom {
    /// Watches these groups. Where neither can be watched, the counter is still read at the end.
    pub(crate) fn watch(groups: &Groups, poll: &Poll) -> Self {
        let mut oom = Self::default();
        if let Some(unified) = groups.unified.as_ref().filter(|group| group.join("memory.events").exists()) {
            let counter = unified.join("memory.events");
            oom.watch = File::open(&counter).ok().map(Watch::File);
            oom.counter = Some(counter);
        } else if let Some(memory) = &groups.memory {
            oom.watch = event_of(memory).map(Watch::Event);
            oom.counter = Some(memory.join("memory.oom_control"));
        }
        let watched = match &oom.watch {
            Some(Watch::Event(event)) => poll.read(event.as_fd(), Source::Oom),
            Some(Watch::File(file)) => poll.change(file, Source::Oom),
            None => Ok(()),
        };
        if watched.is_err() {
            oom.watch = None;
        }
        oom
    }

    /// Something happened. `true`: the count has grown.
    pub(crate) fn ready(&mut self, poll: &Poll, now: Instant) -> bool {
        if let Some(Watch::Event(event)) = &self.watch {
            event.read().ok();
            // The event also comes, for ever, when the group is removed.
            if self.counter.as_ref().is_some_and(|counter| !counter.exists()) {
                poll.forget(event.as_fd());
                self.watch = None;
            }
        }
        self.look_again = Some(now + OOM_LOOK_AGAIN);
        self.look()
    }

    /// When to look again.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.look_again
    }

    /// Looks again where that is due. `true`: the count has grown.
    pub(crate) fn on_time(&mut self, now: Instant) -> bool {
        if self.look_again.is_none_or(|at| at > now) {
            return false;
        }
        self.look_again = None;
        self.look()
    }

    /// Reads the counter. `true`: it has grown.
    pub(crate) fn look(&mut self) -> bool {
        let Some(counter) = &self.counter else { return false };
        let text = kill::read(counter);
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        let grown = count.is_some_and(|count| count > self.kills);
        self.kills = self.kills.max(count.unwrap_or(0));
        grown
    }

    /// A predecessor has counted so many.
    pub(crate) fn at_least(&mut self, kills: u32) {
        self.kills = self.kills.max(kills);
    }

    /// Processes killed so far.
    pub(crate) fn kills(&self) -> u32 {
        self.kills
    }
}

/// An eventfd that the kernel adds to at each event in a group of version 1.
fn event_of(memory: &Path) -> Option<EventFd> {
    use std::os::fd::AsRawFd;
    let control = File::open(memory.join("memory.oom_control")).ok()?;
    let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).ok()?;
    let order = format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd());
    kill::write(&memory.join("cgroup.event_control"), &order).then_some(event)
}
