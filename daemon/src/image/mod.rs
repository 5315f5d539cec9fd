//! Images: importing, naming, listing and removing them.
//!
//! Everything in an image is hostile until its digest is verified, and its content is hostile for ever. An
//! import or a pull reads the documents (`forms`, `documents`, `candidate`), unpacks layers that are not there yet
//! (`import`, `tar_stream`, `unpack`), and writes the catalogue's record last (`record`).
//!
//! On disk: `ROOT/images/<hex of the id>.json`, one per image. Owns: that folder. Never: mounts anything, runs
//! anything found in an image, or keeps a layer's archive. Blocking.

mod archive;
mod blob;
mod candidate;
mod catalogue;
mod chain_locks;
mod counter;
mod digest;
mod documents;
mod error;
mod forms;
mod images;
mod import;
mod layer;
mod limits;
mod pin;
mod pinned;
mod pull;
mod record;
mod reference;
mod registry;
mod tar_stream;
#[cfg(test)]
mod tests;
mod unpack;
mod usage;

use std::collections::BTreeMap;

pub use counter::Counter;
pub use digest::Digest;
pub use error::ImageError;
pub use images::Images;
use oci_spec::image::ImageConfiguration;
pub use pin::ImagePin;
pub use pinned::PinnedNames;
pub use pull::{Pull, Pulls};
pub use reference::Reference;
pub use registry::{Credentials, Registries, RegistryError};
pub use unpack::{Bounds, UnpackError};
pub use usage::Usage;

use crate::snapshot::ChainId;

/// One image of the catalogue.
#[derive(Debug, Clone)]
pub struct Image {
    /// `sha256:` and the digest of its configuration: a function of its content only.
    pub id: String,
    /// Names in full, `docker.io/library/busybox:latest`; none when a newer image took them.
    pub repo_tags: Vec<String>,
    /// `repository@digest of the manifest`, where manifest and repository are known.
    pub repo_digests: Vec<String>,
    /// Bytes of the files of all layers and of the configuration; never 0.
    pub size: u64,
    /// What to run and how. As hostile as the layers.
    pub config: ImageConfiguration,
    /// What its manifest notes about it.
    pub annotations: BTreeMap<String, String>,
    /// Its layers, bottom first. Empty is lawful.
    pub layers: Vec<ChainId>,
}

/// How far an import or a pull is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of layers read so far.
    pub done_bytes: u64,
    /// Bytes of the layers that have to be read.
    pub total_bytes: u64,
    /// What is being read, for people.
    pub what: String,
}
