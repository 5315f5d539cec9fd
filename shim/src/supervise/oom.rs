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
    /// The group above, on version 2: what happens below counts there too, and it outlives this one.
    above: Option<PathBuf>,
    /// The file above, watched where systemd may remove this group: what happens to neighbours is known when it happens.
    watch_above: Option<File>,
    /// Kills in the group above when this one was last looked at.
    kills_above: u32,
    /// The group is gone, and the one above counts a kill that is new: one here, or at that very moment a neighbour's.
    is_suspect: bool,
    /// The group was seen at its limit.
    is_pressed: bool,
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
            oom.above = unified.parent().map(|above| above.join("memory.events"));
            if unified.extension().is_some_and(|kind| kind == "scope") {
                let above = oom.above.as_ref().and_then(|above| File::open(above).ok());
                oom.watch_above = above.filter(|above| poll.change(above, Source::Oom).is_ok());
            }
            oom.look();
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
        // Before its own: a kill between the two must be found below, or be news above.
        let above = self.above.as_ref().and_then(|above| number(&kill::read(above), "oom_kill "));
        let text = kill::read(counter);
        let Some(count) = number(&text, "oom_kill ") else { return self.gone(above) };
        self.is_pressed |= number(&text, "max ").is_some_and(|times| times > 0);
        self.kills_above = above.unwrap_or(self.kills_above);
        let grown = count > self.kills;
        self.kills = self.kills.max(count);
        grown
    }

    /// A predecessor has counted so many.
    pub(crate) fn at_least(&mut self, kills: u32) {
        self.kills = self.kills.max(kills);
    }

    /// systemd removes a group that is empty at once, and may be faster than we are. A group that was seen at its
    /// limit, and is gone while the one above counts a kill that is new since: that was here.
    fn gone(&mut self, above: Option<u32>) -> bool {
        self.is_suspect |= self.kills == 0 && above.is_some_and(|now| now > self.kills_above);
        let was_here = self.is_suspect && self.is_pressed;
        self.count_suspect(was_here)
    }

    /// The container's first process was killed by SIGKILL: with a group that is gone since, and a kill above that is new
    /// since, it was for want of memory, though nobody has seen the group at its limit.
    pub(crate) fn init_was_killed(&mut self) {
        self.count_suspect(true);
    }

    fn count_suspect(&mut self, was_here: bool) -> bool {
        let counts = was_here && std::mem::take(&mut self.is_suspect);
        self.kills += u32::from(counts);
        counts
    }

    /// Processes killed so far.
    pub(crate) fn kills(&self) -> u32 {
        self.kills
    }
}

/// The number behind a word at the beginning of a line.
fn number(text: &str, word: &str) -> Option<u32> {
    text.lines().find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
}

/// An eventfd that the kernel adds to at each event in a group of version 1.
fn event_of(memory: &Path) -> Option<EventFd> {
    use std::os::fd::AsRawFd;
    let control = File::open(memory.join("memory.oom_control")).ok()?;
    let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).ok()?;
    let order = format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd());
    kill::write(&memory.join("cgroup.event_control"), &order).then_some(event)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Oom;
    use crate::supervise::{launch::Groups, poll::Poll};

    /// Kills that are told of a group which is gone by the next look, while the one above counts one more: before it is
    /// known how the first process ended, and after, where it was by SIGKILL.
    fn kills_of_a_group_that_goes(own: &str) -> (u32, u32) {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path().join("scope");
        let put = |path: &std::path::Path, text: &str| {
            let file = path.join("memory.events");
            fs::File::create(file).and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        };
        fs::create_dir(&group).unwrap();
        put(&group, own).unwrap();
        put(folder.path(), "max 9\noom_kill 2\n").unwrap();
        let groups = Groups { unified: Some(group.clone()), memory: None, freezer: None };
        let mut oom = Oom::watch(&groups, &Poll::new().unwrap());
        put(folder.path(), "max 9\noom_kill 3\n").unwrap();
        fs::remove_dir_all(group).unwrap();
        assert!(!oom.look() || oom.kills() > 0);
        // Once and for all.
        assert!(!oom.look());
        let before = oom.kills();
        oom.init_was_killed();
        (before, oom.kills())
    }

    #[test]
    fn a_group_that_is_gone_was_killed_if_it_was_at_its_limit() {
        assert_eq!(kills_of_a_group_that_goes("low 0\nmax 4\noom_kill 0\n"), (1, 1));
        assert_eq!(kills_of_a_group_that_goes("low 0\nmax 4\noom_kill 2\n"), (2, 2), "known already");
        let unseen = kills_of_a_group_that_goes("low 0\nmax 0\noom_kill 0\n");
        assert_eq!(unseen, (0, 1), "a neighbour's, unless the first process was killed just then");
    }
}
