//! Root file systems by copying: for file systems that overlay refuses, and for tests.
//!
//! Owns: a whole copy of the layers per container. Never: the choice between this and overlay.

use std::path::{Path, PathBuf};

use crate::{
    snapshot::{
        Below, ChainId, FillError, Fresh, SnapshotError, Snapshotter,
        layers::{Layers, remove_folder},
        overlay_mount::{is_mount_point, unmount},
        stack_copy,
        writable::Writables,
    },
    store,
};

/// Layers below `ROOT/snapshots`, the same as [`crate::snapshot::Overlay`]'s, copied together for each
/// container.
#[derive(Debug)]
pub struct PlainCopy {
    layers: Layers,
    writables: Writables,
}

impl PlainCopy {
    /// Opens (or makes) the store below `root` and removes what commits and removals that were cut short have
    /// left.
    pub fn open(root: &Path) -> Result<Self, SnapshotError> {
        let root = root.join("snapshots");
        store::make_dir(&root).map_err(SnapshotError::disk("make the folder", &root))?;
        Ok(Self { layers: Layers::open(&root)?, writables: Writables::open(&root)? })
    }

    /// Makes the copy under a name of its own and renames it: it is whole or not there.
    fn copy(folder: &Path, layers: &[PathBuf]) -> Result<PathBuf, SnapshotError> {
        let (done, half) = (folder.join("fs"), folder.join("fs.new"));
        if !done.is_dir() {
            remove_folder(&half)?;
            store::make_dir(&half).map_err(SnapshotError::disk("make the folder", &half))?;
            stack_copy::copy(layers, &half).map_err(SnapshotError::disk("copy the layers to", &half))?;
            std::fs::rename(&half, &done).map_err(SnapshotError::disk("rename", &half))?;
        }
        Ok(done)
    }
}

impl Snapshotter for PlainCopy {
    fn has(&self, chain: &ChainId) -> bool {
        self.layers.has(chain)
    }

    fn size(&self, chain: &ChainId) -> Option<u64> {
        self.layers.size(chain)
    }

    fn commit(
        &self,
        chain: &ChainId,
        below: Below<'_>,
        fill: &mut dyn FnMut(&Fresh<'_>) -> Result<u64, FillError>,
    ) -> Result<(), SnapshotError> {
        self.layers.commit(chain, below, fill)
    }

    fn mount(&self, key: &str, layers: &[ChainId], target: &Path) -> Result<(), SnapshotError> {
        let folders = self.layers.folders(layers)?;
        let folder = self.writables.prepare(key, layers)?;
        if is_mount_point(target).map_err(SnapshotError::disk("look at", target))? {
            return Ok(());
        }
        let copy = Self::copy(&folder, &folders)?;
        rustix::mount::mount_bind(&copy, target).map_err(|errno| SnapshotError::Mount {
            target: target.to_owned(),
            words: String::new(),
            source: errno.into(),
        })
    }

    fn writable(&self, key: &str) -> PathBuf {
        self.writables.place(key)
    }

    fn release(&self, key: &str, target: &Path) -> Result<(), SnapshotError> {
        unmount(target).map_err(SnapshotError::disk("unmount", target))?;
        self.writables.remove(key)
    }

    fn remove(&self, chain: &ChainId) -> Result<(), SnapshotError> {
        self.writables.check_unused(chain)?;
        self.layers.remove(chain)
    }

    fn keys(&self) -> Result<Vec<String>, SnapshotError> {
        self.writables.keys()
    }

    fn folder(&self, chain: &ChainId) -> Option<PathBuf> {
        self.layers.folder(chain)
    }

    fn chains(&self) -> Vec<ChainId> {
        self.layers.chains()
    }
}
