//! Which containers may be lost: those whose shim died while no keeper that knew it lived, or shortly before. Nobody
//! else, and without a keeper's death nobody at all.
//!
//! Owns: when shims and keepers died by a test's doing. Never: believes that a death happened because it was wished for.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// How long after a shim's death its keeper may still be needed: a successor that is held up at a step, and once more.
const TAKEOVER: Duration = Duration::from_secs(4);

/// A shim's death.
#[derive(Debug, Clone)]
pub struct ShimDeath {
    /// Whose it was; `None`: it died at a step, and nobody knows whose it was.
    pub container: Option<String>,
    /// The keeper said shortly before that it would replace it.
    pub kept: bool,
    /// Not before this.
    pub from: Instant,
    /// Not after this.
    pub to: Instant,
}

/// A time in which not every shim had a keeper that was awake.
#[derive(Debug)]
struct Gap {
    from: Instant,
    to: Option<Instant>,
}

/// All deaths.
#[derive(Debug, Default)]
pub struct Deaths {
    shims: Vec<ShimDeath>,
    gaps: Vec<Gap>,
}

impl Deaths {
    /// A shim has died.
    pub fn shim(&mut self, death: ShimDeath) {
        self.shims.push(death);
    }

    /// The keeper was killed, or stopped, not before this.
    pub fn keeper_from(&mut self, from: Instant) {
        if !self.is_open() {
            self.gaps.push(Gap { from, to: None });
        }
    }

    /// A keeper keeps every shim again.
    pub fn keeper_again(&mut self, now: Instant) {
        if let Some(gap) = self.gaps.last_mut() {
            gap.to.get_or_insert(now);
        }
    }

    /// Not every shim has a keeper now.
    pub fn is_open(&self) -> bool {
        self.gaps.last().is_some_and(|gap| gap.to.is_none())
    }

    /// Shims that died, and those of them whose container may be lost.
    pub fn counts(&self) -> (usize, usize) {
        (self.shims.len(), self.shims.iter().filter(|death| self.may_lose(death)).count())
    }

    fn may_lose(&self, death: &ShimDeath) -> bool {
        let meets = |gap: &Gap| gap.from <= death.to + TAKEOVER && gap.to.is_none_or(|to| to >= death.from);
        !death.kept || self.gaps.iter().any(meets)
    }

    /// Of those that were lost, the ones that no death explains.
    pub fn unexplained(&self, lost: &BTreeSet<String>) -> Vec<String> {
        let explained = || self.shims.iter().filter(|death| self.may_lose(death));
        let named: BTreeSet<&String> = explained().filter_map(|death| death.container.as_ref()).collect();
        let nameless = explained().filter(|death| death.container.is_none()).count();
        let rest: Vec<String> = lost.iter().filter(|id| !named.contains(id)).cloned().collect();
        if rest.len() > nameless { rest } else { Vec::new() }
    }
}
