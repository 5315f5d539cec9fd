//! A process that a shim showed: whose child it is, and how it ended.
//!
//! Owns: nothing but the looking. Never: reaps one whose end nobody was told of.

use std::{os::fd::OwnedFd, time::Instant};

use nix::errno::Errno;
use protocol::keeper::{Kind, Word, word::Verb};

use crate::sys::pidfd::{Ended, PidFd};

/// A process that a killed shim left, and that its successor waits for.
#[derive(Debug)]
pub(crate) struct Ward {
    /// The process.
    pub(crate) process: PidFd,
    /// What it is to the shim.
    pub(crate) kind: Kind,
    /// Its number among those.
    pub(crate) number: u32,
    /// Whether it is our child, whose end we see; else only the kernel can be asked.
    is_ours: bool,
    /// Its end, and when it was seen, in nanoseconds since the epoch.
    pub(crate) ended: Option<(Ended, i64)>,
    /// Since when it is seen to have ended, where it is not ours.
    since: Option<Instant>,
}

impl Ward {
    /// A process that was shown, by its descriptor. `None`: it is another one's child, which will tell.
    pub(crate) fn of(fd: OwnedFd, kind: Kind, number: u32) -> Self {
        let process = PidFd::of(fd);
        let is_ours = process.peek() != Err(Errno::ECHILD);
        Self { process, kind, number, is_ours, ended: None, since: None }
    }

    /// Whether it is our child.
    pub(crate) fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// Looks. `true`: its end was seen just now.
    pub(crate) fn look(&mut self, now: i64) -> bool {
        if self.ended.is_some() {
            return false;
        }
        let ended = if self.is_ours {
            self.process.peek().unwrap_or(Some(Ended::Unknown))
        } else {
            self.process.ask_kernel(&mut self.since)
        };
        self.ended = ended.map(|ended| (ended, now));
        self.ended.is_some()
    }

    /// It may be forgotten: whoever waited for it knows.
    pub(crate) fn bury(&self) {
        if self.is_ours {
            self.process.reap().ok();
        }
    }

    /// What its shim is told.
    pub(crate) fn word(&self) -> Option<Word> {
        let (ended, at) = self.ended?;
        let mut word = Word { number: self.number, at, ..Word::default() };
        (word.verb, word.kind) = (Verb::ENDED.into(), self.kind.into());
        (word.signaled, word.unknown, word.code) = ended.to_parts();
        Some(word)
    }
}

/// Whether a kind is a process whose end a shim waits for.
pub(crate) fn is_process(kind: Kind) -> bool {
    matches!(kind, Kind::COMMAND | Kind::INIT | Kind::EXEC_COMMAND | Kind::EXEC)
}

/// Whether it is a command that makes processes whose ids are not known yet.
pub(crate) fn is_command(kind: Kind) -> bool {
    matches!(kind, Kind::COMMAND | Kind::EXEC_COMMAND)
}
