//! One at a time per layer: two imports of one layer, or an import and a removal, take turns.
//!
//! Owns: who is at work on which chain id. Never: is held for two chain ids by one thread, so nobody waits in
//! a circle.

use std::{
    collections::BTreeSet,
    sync::{Condvar, Mutex, PoisonError},
};

use crate::snapshot::ChainId;

/// The chain ids that are worked on.
#[derive(Debug, Default)]
pub(super) struct ChainLocks {
    busy: Mutex<BTreeSet<ChainId>>,
    freed: Condvar,
}

/// The right to work on one chain id.
#[derive(Debug)]
pub(super) struct ChainLock<'a> {
    locks: &'a ChainLocks,
    chain: ChainId,
}

impl ChainLocks {
    /// Waits until nobody else works on it.
    pub(super) fn lock(&self, chain: &ChainId) -> ChainLock<'_> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while busy.contains(chain) {
            busy = self.freed.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
        busy.insert(chain.clone());
        ChainLock { locks: self, chain: chain.clone() }
    }
}

impl Drop for ChainLock<'_> {
    fn drop(&mut self) {
        self.locks.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.chain);
        self.locks.freed.notify_all();
    }
}
