//! What a container's writable layer holds: bytes and files.
//!
//! Owns: what was measured last. Never: follows a link, leaves the folder.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    sys::tree_usage::{TreeUsage, tree_usage},
    tasks::{self, Pool, blocking},
};

/// How long a measured size is told: a little less than the kubelet's ten seconds between its questions.
const FRESH: Duration = Duration::from_secs(9);

/// How many times its own cost a walk rests: five per cent of one core for the largest folder.
const REST: u32 = 20;

/// Entries that are counted at once, while the caller waits: some milliseconds.
const SMALL: u64 = 2000;

/// Entries after which a walk ends: a container may have made any number, and a statistic is not worth minutes. What
/// was counted so far is told.
const ENTRIES_MAX: u64 = 2_000_000;

/// Bytes on the disk and entries of a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// When it was measured, in nanoseconds since the epoch.
    pub at: i64,
    /// Bytes of the blocks in use.
    pub bytes: u64,
    /// Files, folders and all else.
    pub inodes: u64,
}

/// The last measure of one folder.
#[derive(Debug, Clone, Copy)]
struct Measure {
    told: Option<DiskUsage>,
    ended: Instant,
    cost: Duration,
    /// Another one is under way.
    under_way: bool,
}

impl Measure {
    fn is_fresh(&self) -> bool {
        self.told.is_some() && self.ended.elapsed() < FRESH.max(self.cost * REST)
    }
}

#[derive(Debug, Default, Clone)]
pub(super) struct Disks(Arc<Mutex<HashMap<String, Measure>>>);

impl Disks {
    /// What is known. A small folder is measured at once, a large one in the background: `None` until its first
    /// measure has ended. Must be called inside the executor, from a thread that may block.
    pub(super) fn usage(&self, key: &str, folder: &Path) -> Option<DiskUsage> {
        let known = self.all().get(key).copied();
        if let Some(known) = known.filter(|known| known.is_fresh() || known.under_way) {
            return known.told;
        }
        let begun = Instant::now();
        let small = tree_usage(folder, SMALL).ok()?;
        if small.whole {
            return self.ended(key, begun, Some(small));
        }
        let before = known.and_then(|known| known.told);
        let under_way = Measure { told: before, ended: begun, cost: Duration::ZERO, under_way: true };
        self.all().insert(key.to_owned(), under_way);
        let (disks, key, folder) = (self.clone(), key.to_owned(), folder.to_owned());
        tasks::spawn("measure of a folder", async move {
            let walk = move || {
                let begun = Instant::now();
                disks.ended(&key, begun, tree_usage(&folder, ENTRIES_MAX).ok());
            };
            blocking(Pool::Walk, walk).await;
        });
        before
    }

    fn ended(&self, key: &str, begun: Instant, counted: Option<TreeUsage>) -> Option<DiskUsage> {
        let told = counted.map(|counted| DiskUsage {
            at: crate::clock::now_nanos(),
            bytes: counted.bytes,
            inodes: counted.entries,
        });
        let measure = Measure { told, ended: Instant::now(), cost: begun.elapsed(), under_way: false };
        self.all().insert(key.to_owned(), measure);
        told
    }

    pub(super) fn keep_only(&self, there: &impl Fn(&str) -> bool) {
        self.all().retain(|key, _| there(key));
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Measure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
