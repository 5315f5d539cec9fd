//! What can go wrong with layers and root file systems.
//!
//! Never: knows who asked.

use std::{error::Error, io, path::PathBuf};

use crate::snapshot::ChainId;

/// Why the layer store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// A layer that an image or a container names is not in the store.
    #[error("layer {0} is not in the layer store; import the image again")]
    NoLayer(ChainId),
    /// A layer is below a container's root file system.
    #[error("layer {chain} is used by container {key}; remove the container first")]
    InUse {
        /// The layer.
        chain: ChainId,
        /// The container.
        key: String,
    },
    /// The filling of a layer failed; nothing of it is left.
    #[error("layer {chain} could not be filled")]
    Fill {
        /// The layer.
        chain: ChainId,
        /// What the one who filled it said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The key is no plain name.
    #[error("{0:?} cannot name a root file system: lower-case letters, digits and inner '-' can")]
    BadKey(String),
    /// A root file system of this key is there, made of other layers.
    #[error("a root file system of container {0} is there with other layers; release it first")]
    Conflict(String),
    /// More layers than one mount can hold.
    #[error("{count} layers do not fit into one mount here ({why}); build the image with fewer")]
    TooManyLayers {
        /// Layers asked for.
        count: usize,
        /// The bound that was hit.
        why: String,
    },
    /// The kernel refused to mount.
    #[error("the root file system could not be mounted at {target}{words}")]
    Mount {
        /// The mount point.
        target: PathBuf,
        /// The kernel's own words, with ": " before them, or nothing.
        words: String,
        /// The error.
        source: io::Error,
    },
    /// overlay does not work on this host or file system.
    #[error(
        "overlay does not work below {path}; use a file system that can carry it (ext4, xfs, btrfs, tmpfs)"
    )]
    NoOverlay {
        /// The store.
        path: PathBuf,
        /// How the trial ended.
        source: Box<SnapshotError>,
    },
    /// The store's path cannot stand in mount options.
    #[error("{0} holds one of : , \\ or \", which mount options cannot carry; choose another root")]
    BadRoot(PathBuf),
    /// The disk failed.
    #[error("{path}: cannot {what}")]
    Disk {
        /// What was being done.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
}

impl SnapshotError {
    /// Turns an error of the disk into ours.
    pub(super) fn disk(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Disk { what, path, source }
    }
}
