//! Root file systems by overlay: the layers stay where they are, a container has a folder of its own above.
//!
//! Owns: what is mounted for which container. Never: copies a file.

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use crate::{
    snapshot::{
        Below, ChainId, FillError, Fresh, SnapshotError, Snapshotter,
        layers::{Layers, copy_root, remove_folder},
        overlay_mount::{Stack, is_mount_point, unmount},
        writable::Writables,
    },
    steps, store,
    sys::unpack::path_of,
};

/// A store's path longer than this is named through a descriptor in mount options, so that many layers fit.
const PLAIN_PATH_MAX: usize = 64;

/// Layers below `ROOT/snapshots`, stacked by overlay.
#[derive(Debug)]
pub struct Overlay {
    root: PathBuf,
    /// The store's folder, for short names of long paths.
    handle: OwnedFd,
    layers: Layers,
    writables: Writables,
}

impl Overlay {
    /// Opens (or makes) the store below `root`, tries once whether overlay works there, and removes what
    /// commits and removals that were cut short have left.
    pub fn open(root: &Path) -> Result<Self, SnapshotError> {
        let root = root.join("snapshots");
        if root.to_string_lossy().contains([':', ',', '\\', '"', '\u{fffd}']) {
            return Err(SnapshotError::BadRoot(root));
        }
        store::make_dir(&root).map_err(SnapshotError::disk("make the folder", &root))?;
        let handle = File::open(&root).map_err(SnapshotError::disk("open", &root))?.into();
        let layers = Layers::open(&root)?;
        let writables = Writables::open(&root)?;
        let this = Self { root, handle, layers, writables };
        let empty = this.empty();
        store::make_dir(&empty).map_err(SnapshotError::disk("make the folder", &empty))?;
        match this.trial() {
            // What is there can be listed, stopped and removed on such a disk; a new container says what is wrong.
            Err(error) if refuses_writes(&error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the disk takes nothing: whether overlays can be mounted is not tried");
            }
            tried => tried?,
        }
        Ok(this)
    }

    /// Mounts an overlay of nothing and takes it down again.
    fn trial(&self) -> Result<(), SnapshotError> {
        let folder = self.root.join("trial");
        let target = folder.join("target");
        let clear = || {
            unmount(&target).map_err(SnapshotError::disk("unmount", &target))?;
            remove_folder(&folder)
        };
        clear()?;
        store::make_dir(&target).map_err(SnapshotError::disk("make the folder", &target))?;
        let mounted = self.mount_at(&folder, &[], &target);
        clear()?;
        mounted.map_err(|e| SnapshotError::NoOverlay { path: self.root.clone(), source: Box::new(e) })
    }

    /// Mounts the layers' folders (bottom first) with the writable part in `folder`.
    fn mount_at(&self, folder: &Path, layers: &[PathBuf], target: &Path) -> Result<(), SnapshotError> {
        let (upper, work) = (folder.join("upper"), folder.join("work"));
        let empty = self.empty();
        let top = layers.last().unwrap_or(&empty);
        make_upper(&upper, top).map_err(SnapshotError::disk("make the folder", &upper))?;
        // One that was used and never taken down (the host went down) is refused by the kernel.
        remove_folder(&work)?;
        store::make_dir(&work).map_err(SnapshotError::disk("make the folder", &work))?;
        let mut lower: Vec<String> = layers.iter().rev().map(|path| self.short(path)).collect();
        if lower.is_empty() {
            lower.push(self.short(&empty));
        }
        Stack { lower, upper: self.short(&upper), work: self.short(&work) }.mount(target)
    }

    /// The lowest layer of an image without layers.
    fn empty(&self) -> PathBuf {
        self.root.join("empty")
    }

    fn short(&self, path: &Path) -> String {
        match path.strip_prefix(&self.root) {
            Ok(rest) if self.root.as_os_str().len() > PLAIN_PATH_MAX => {
                path_of(&self.handle).join(rest).display().to_string()
            }
            _ => path.display().to_string(),
        }
    }
}

impl Snapshotter for Overlay {
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
        steps::check("rootfs.mount").map_err(SnapshotError::disk("mount at", target))?;
        self.mount_at(&folder, &folders, target)
    }

    fn writable(&self, key: &str) -> PathBuf {
        self.writables.place(key).join("upper")
    }

    fn release(&self, key: &str, target: &Path) -> Result<(), SnapshotError> {
        unmount(target).map_err(SnapshotError::disk("unmount", target))?;
        steps::check("rootfs.remove").map_err(SnapshotError::disk("free", target))?;
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

/// Makes the upper folder, whose attributes are those of the container's `/`. Finds it there: fine.
fn make_upper(upper: &Path, top: &Path) -> io::Result<()> {
    match fs::create_dir(upper) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => copy_root(top, &File::open(upper)?),
    }
}

/// Whether the disk is to blame: it is full, or may only be read.
fn refuses_writes(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(kind, Some(ReadOnlyFilesystem | StorageFull | QuotaExceeded))
        || error.source().is_some_and(refuses_writes)
}
