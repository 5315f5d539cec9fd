//! How much the layers take on the disk. They never change, so each is counted once.
//!
//! Owns: the counts. Never: lets anybody wait who only asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    snapshot::{ChainId, Snapshotter},
    sys::unpack::{Beneath, Kind},
};

/// Room on a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes, as blocks are counted.
    pub bytes: u64,
    /// Files, folders and everything else with a number.
    pub inodes: u64,
}

/// What each layer takes.
#[derive(Debug, Default)]
pub(super) struct Usages {
    /// `None`: it could not be counted, and is tried again when another has to be counted.
    counted: Mutex<BTreeMap<ChainId, Option<Usage>>>,
    /// One counts at a time.
    counting: AtomicBool,
}

impl Usages {
    /// The sum for these layers, and whether each of them has been counted, or tried.
    pub(super) fn of(&self, chains: &[ChainId]) -> (Usage, bool) {
        let counted = self.counted();
        let known: Vec<&Option<Usage>> = chains.iter().filter_map(|chain| counted.get(chain)).collect();
        let sum = known.iter().copied().flatten().fold(Usage::default(), |sum, one| Usage {
            bytes: sum.bytes.saturating_add(one.bytes),
            inodes: sum.inodes.saturating_add(one.inodes),
        });
        (sum, known.len() == chains.len())
    }

    /// Takes the right to count, unless somebody has it.
    pub(super) fn begin(&self) -> bool {
        !self.counting.swap(true, Ordering::AcqRel)
    }

    /// Gives it back.
    pub(super) fn end(&self) {
        self.counting.store(false, Ordering::Release);
    }

    /// Counts the layers that have not been, and forgets those that are gone; for whoever has the right. Blocking.
    pub(super) fn count(&self, snapshots: &dyn Snapshotter) {
        let chains: BTreeSet<ChainId> = snapshots.chains().into_iter().collect();
        self.counted().retain(|chain, _| chains.contains(chain));
        for chain in chains {
            if self.counted().get(&chain).is_some_and(Option::is_some) {
                continue;
            }
            let Some(folder) = snapshots.folder(&chain) else { continue };
            // One that fails may be on its way out.
            let usage = count(&folder)
                .inspect_err(|error| tracing::debug!(%chain, %error, "a layer cannot be counted"));
            self.counted().insert(chain, usage.ok());
        }
    }

    fn counted(&self) -> MutexGuard<'_, BTreeMap<ChainId, Option<Usage>>> {
        // Each statement under this lock leaves the map sound, so a panic elsewhere does no harm.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Walks one folder.
fn count(folder: &Path) -> io::Result<Usage> {
    let mut layer = Beneath::open(folder)?;
    let mut usage = Usage::default();
    let mut shared = BTreeSet::new();
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        for name in layer.names(&path)? {
            let path = path.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&name));
            let Some(stat) = layer.stat(&path)? else { continue };
            let kind = Kind::of(&stat);
            if kind == Kind::Folder {
                open.push(path);
            } else if stat.st_nlink > 1 && !shared.insert(stat.st_ino) {
                continue;
            }
            usage.inodes += 1;
            usage.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK;
        }
    }
    usage.inodes += 1;
    Ok(usage)
}

/// The unit of `st_blocks` (stat(2)).
const BLOCK: u64 = 512;
