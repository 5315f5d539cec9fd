//! Layers and root file systems: unpacked layers keyed by chain id, and a writable part per container above
//! them.
//!
//! On disk, below `ROOT/snapshots`: `layers/N` is one layer's own files, whiteouts in overlay's form;
//! `chains/<hex>.json` says which N a chain id has and is written last, so a layer is whole or not there;
//! `active/<container>` is a container's writable part with the list of layers below it.
//!
//! Owns: everything below that folder. Never: knows images, registries or tar. Blocking.

mod chain_id;
mod error;
mod layers;
mod limits;
mod overlay;
mod overlay_mount;
mod plain_copy;
mod stack_copy;
#[cfg(test)]
mod tests;
mod writable;

use std::{
    cell::Cell,
    error::Error,
    fmt::Debug,
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
};

pub use chain_id::ChainId;
pub use error::SnapshotError;
pub use overlay::Overlay;
pub use plain_copy::PlainCopy;

/// Mode of a folder that nobody gave one.
const FOLDER_MODE: u32 = 0o755;

/// What the one who fills a layer may answer when it cannot.
pub type FillError = Box<dyn Error + Send + Sync>;

/// The layers that a new one is put upon.
#[derive(Clone, Copy)]
pub struct Below<'a> {
    /// Their names, bottom first.
    pub layers: &'a [ChainId],
    /// Waits until all of them are there: several layers of an image may be made at a time.
    pub ready: &'a dyn Fn() -> Result<(), FillError>,
}

impl<'a> Below<'a> {
    /// Layers that are there.
    pub fn there(layers: &'a [ChainId]) -> Self {
        Self { layers, ready: &|| Ok(()) }
    }
}

impl Debug for Below<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Below").field("layers", &self.layers).finish_non_exhaustive()
    }
}

/// A layer that is being made.
pub struct Fresh<'a> {
    /// The layer's own folder, to be filled. Its root looks as roots usually do.
    pub folder: BorrowedFd<'a>,
    below: &'a dyn Fn() -> Result<Vec<PathBuf>, FillError>,
    root_is_dressed: Cell<bool>,
}

impl Fresh<'_> {
    /// Folders of the layers below, nearest first: where a link that leads through them is looked up, and the
    /// attributes of an unnamed parent. Waits until they are there, so whoever does not need them does not ask.
    ///
    /// # Errors
    /// What [`Below::ready`] says, or that one is not there.
    pub fn below(&self) -> Result<Vec<PathBuf>, FillError> {
        (self.below)()
    }

    /// Whoever fills the layer has given its root attributes of its own; else it gets those of the layer below.
    pub fn root_is_dressed(&self) {
        self.root_is_dressed.set(true);
    }
}

impl Debug for Fresh<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fresh").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Copies a folder of a mounted root file system into `target`, an empty folder. No link is followed.
pub fn copy_folder(from: &OwnedFd, target: &Path) -> io::Result<()> {
    stack_copy::copy_one(from.as_fd(), target)
}

/// Gives a folder the permissions that one made inside a container would have.
pub fn open_to_all(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(FOLDER_MODE))
}

/// Keeps layers and makes root file systems of them.
pub trait Snapshotter: Send + Sync + Debug {
    /// Whether a layer is there, whole.
    fn has(&self, chain: &ChainId) -> bool;

    /// Bytes of the files of one layer, as the one who filled it counted; `None`: not there.
    fn size(&self, chain: &ChainId) -> Option<u64>;

    /// Makes one layer over those of `below`. All or nothing: the layer is seen when it is whole and on the disk,
    /// and those below it too. Finds it there: fine, nothing is filled. The caller sees to it
    /// that one chain id is not committed twice at a time.
    fn commit(
        &self,
        chain: &ChainId,
        below: Below<'_>,
        fill: &mut dyn FnMut(&Fresh<'_>) -> Result<u64, FillError>,
    ) -> Result<(), SnapshotError>;

    /// Makes the writable root file system of a container over `layers` (bottom first) and mounts it at
    /// `target`, an existing folder. Finds work of an earlier, interrupted call done: goes on from there.
    fn mount(&self, key: &str, layers: &[ChainId], target: &Path) -> Result<(), SnapshotError>;

    /// The folder that holds what a container has written, whether it is there or not.
    fn writable(&self, key: &str) -> PathBuf;

    /// Unmounts and removes a container's writable part. Finds work done: fine.
    fn release(&self, key: &str, target: &Path) -> Result<(), SnapshotError>;

    /// Removes one layer. Finds it gone: fine. Refused while a container's root file system stands on it.
    fn remove(&self, chain: &ChainId) -> Result<(), SnapshotError>;

    /// Keys of the writable parts that are there, whole or not.
    fn keys(&self) -> Result<Vec<String>, SnapshotError>;

    /// Where a layer's own files are; `None`: not there.
    fn folder(&self, chain: &ChainId) -> Option<PathBuf>;

    /// Layers that are there.
    fn chains(&self) -> Vec<ChainId>;
}
