//! What a container's writable layer holds: bytes and files.
//!
//! Owns: what was measured last. Never: follows a link, leaves the folder.

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::sys::tree_usage::tree_usage;

/// How long a measured size is told: the kubelet asks each 10 s, and a walk over many files costs.
const FRESH: Duration = Duration::from_secs(10);

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

#[derive(Debug, Default)]
pub(super) struct Disks(Mutex<HashMap<String, (Instant, DiskUsage)>>);

impl Disks {
    pub(super) fn usage(&self, key: &str, folder: &Path) -> io::Result<DiskUsage> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied();
        if let Some((when, usage)) = known
            && when.elapsed() < FRESH
        {
            return Ok(usage);
        }
        let (bytes, inodes) = tree_usage(folder)?;
        let usage = DiskUsage { at: crate::clock::now_nanos(), bytes, inodes };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key.to_owned(), (Instant::now(), usage));
        Ok(usage)
    }

    pub(super) fn keep_only(&self, there: &impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| there(key));
    }
}
