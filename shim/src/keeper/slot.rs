//! One shim's place: the shim that is in it now, and what must outlive it.
//!
//! Owns: the held descriptors. Never: decides that another shim is started.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    time::{Duration, Instant},
};

use nix::sys::stat::fstat;
use protobuf::Message;
use protocol::keeper::{Kind, Word, word::Verb};

use crate::{
    limits::{EARLY_DEATHS_MAX, EARLY_PAUSE},
    sys::{packet::Packets, pidfd::PidFd},
};

/// A place.
#[derive(Debug)]
pub(crate) struct Slot {
    /// The shim; `None`: it has ended, or has not said who it is.
    pub(crate) shim: Option<Shim>,
    /// The way to it.
    pub(crate) channel: Option<Packets>,
    /// When the way ended before the shim did.
    pub(crate) cut: Option<Instant>,
    /// What is held, by kind and number.
    pub(crate) held: BTreeMap<(i32, u32), Held>,
    /// Numbers of the processes that an earlier shim left.
    pub(crate) wards: Vec<u32>,
    /// Whose container. Empty: it was not told yet.
    pub(crate) container: String,
    /// Shims that were killed in this place.
    pub(crate) replaced: u32,
    /// Nobody is to follow.
    pub(crate) is_done: bool,
    /// Deaths one after the other of shims that had not taken over, or ended by themselves soon after.
    pub(crate) early: u32,
    /// When the present shim had taken over.
    pub(crate) taken: Option<Instant>,
    /// How the last one ended.
    pub(crate) how: String,
    /// When another one is to be started.
    pub(crate) again: Option<Instant>,
    /// The program of its shims: a successor must read what its predecessor wrote. `None`: the keeper's own.
    pub(crate) program: Option<Rc<OwnedFd>>,
    /// Daemons that wait for its end: connection and ticket.
    pub(crate) waiting: Vec<(u32, u64)>,
}

/// A program, by the descriptor of it that is held already, where there is one: there are as many shims as containers, and
/// few programs.
pub(crate) fn one_of<'a>(program: OwnedFd, mut held: impl Iterator<Item = &'a Rc<OwnedFd>>) -> Rc<OwnedFd> {
    let which = |fd: &OwnedFd| fstat(fd).ok().map(|stat| (stat.st_dev, stat.st_ino));
    let mine = which(&program);
    let same = held.find(|held| mine.is_some() && which(held) == mine).cloned();
    same.unwrap_or_else(|| Rc::new(program))
}

/// A shim.
#[derive(Debug)]
pub(crate) struct Shim {
    pub(crate) process: PidFd,
    pub(crate) pid: i32,
}

/// A held descriptor.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) fd: OwnedFd,
    pub(crate) pid: i32,
}

impl Slot {
    /// An empty place at the end of this way.
    pub(crate) fn new(channel: Packets) -> Self {
        Self {
            shim: None,
            channel: Some(channel),
            cut: None,
            held: BTreeMap::new(),
            wards: Vec::new(),
            container: String::new(),
            how: String::new(),
            replaced: 0,
            is_done: false,
            early: 0,
            taken: None,
            again: None,
            program: None,
            waiting: Vec::new(),
        }
    }

    /// Whether there is a container that another shim could take over.
    pub(crate) fn has_estate(&self) -> bool {
        !self.is_done && self.held.contains_key(&(Kind::MEMORY as i32, 0))
    }

    /// How long to wait before another shim is started: not at all, until too many have ended early.
    pub(crate) fn pause(&self) -> Duration {
        let late = self.early.saturating_sub(EARLY_DEATHS_MAX / 2);
        late.checked_sub(1).map_or(Duration::ZERO, |doubled| EARLY_PAUSE * (1 << doubled.min(8)))
    }

    /// Says something to the shim. `false`: it does not listen.
    pub(crate) fn say(&self, word: &Word, beside: Option<&OwnedFd>) -> bool {
        let Some(channel) = &self.channel else { return false };
        let packet = word.write_to_bytes().ok();
        packet.is_some_and(|packet| channel.send_within(&packet, beside.map(AsFd::as_fd)).is_ok())
    }

    /// Gives all that is held to the shim that is there now.
    /// `false`: it does not take it; nobody waits for it twice.
    pub(crate) fn give<'a>(&self, ends: impl Iterator<Item = &'a Word>) -> bool {
        for (&(kind, number), held) in &self.held {
            let mut word = Word { number, pid: held.pid, ..Word::default() };
            word.verb = Verb::GIVE.into();
            word.kind = protobuf::EnumOrUnknown::from_i32(kind);
            if !self.say(&word, Some(&held.fd)) {
                return false;
            }
        }
        for word in ends {
            if !self.say(word, None) {
                return false;
            }
        }
        let mut go = Word { replaced: self.replaced, ..Word::default() };
        go.verb = Verb::GO.into();
        self.say(&go, None)
    }
}
