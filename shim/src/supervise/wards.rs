//! Processes that a killed shim left to the keeper: children of the keeper's, whose ends it tells.
//!
//! Owns: what was told. Never: reaps; watches a process.

use std::{cell::Cell, collections::BTreeMap, os::fd::OwnedFd, rc::Rc, time::Instant};

use protocol::keeper::{Kind, Word};

use super::poll::Source;
use crate::{
    limits::WARD_LOOK,
    sys::pidfd::{Ended, PidFd, Told},
};

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Wards {
    told: BTreeMap<(i32, u32), Rc<Cell<Told>>>,
    /// The keeper is gone: when to ask the kernel again, and until when it may still learn of an end.
    orphaned: Option<Instant>,
}

impl Wards {
    /// A process that the keeper will tell the end of.
    pub(crate) fn add(&mut self, kind: Kind, number: u32, fd: OwnedFd) -> PidFd {
        let told =
            Rc::new(Cell::new(if self.orphaned.is_some() { Told::Orphaned(None) } else { Told::Waiting }));
        self.told.insert((kind as i32, number), told.clone());
        PidFd::ward(fd, told)
    }

    /// The keeper tells an end. Returns what to look at.
    pub(crate) fn ended(&mut self, word: &Word) -> Option<Source> {
        let kind = word.kind.enum_value_or_default();
        let told = self.told.remove(&(kind as i32, word.number))?;
        told.set(Told::Ended(Ended::of_parts(word.signaled, word.unknown, word.code)));
        source(kind, word.number)
    }

    /// The keeper is gone. From now on only the kernel knows.
    pub(crate) fn orphan(&mut self, now: Instant) {
        self.told.retain(|_, told| Rc::strong_count(told) > 1);
        if self.told.is_empty() {
            return;
        }
        self.told.values().for_each(|told| told.set(Told::Orphaned(None)));
        self.orphaned = Some(now + WARD_LOOK);
    }

    /// When to look at those whose keeper is gone.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.orphaned
    }

    /// Looks at them, where that is due: what may have ended.
    pub(crate) fn on_time(&mut self, now: Instant) -> Vec<Source> {
        if self.orphaned.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.told.retain(|_, told| Rc::strong_count(told) > 1);
        self.orphaned = (!self.told.is_empty()).then(|| now + WARD_LOOK);
        let kind = |number: i32| <Kind as protobuf::Enum>::from_i32(number).unwrap_or_default();
        self.told.keys().filter_map(|&(number, of)| source(kind(number), of)).collect()
    }
}

fn source(kind: Kind, number: u32) -> Option<Source> {
    match kind {
        Kind::COMMAND => Some(Source::Command),
        Kind::INIT => Some(Source::Init),
        Kind::EXEC_COMMAND | Kind::EXEC => Some(Source::Exec(number)),
        _ => None,
    }
}
