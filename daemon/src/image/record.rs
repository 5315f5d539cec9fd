//! One image's record in the catalogue: what is known of it, with its manifest and configuration as they came.
//!
//! Owns: `ROOT/images/<hex>.json`. Never: believes a record whose configuration does not have the image's id.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    image::{Digest, Image, limits::RECORD_MAX},
    snapshot::ChainId,
    store,
};

/// Version of the record's form.
const VERSION: u32 = 1;

/// What the disk remembers of an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    pub(super) id: Digest,
    pub(super) repo_tags: Vec<String>,
    pub(super) repo_digests: Vec<String>,
    /// Bytes of its files in all layers, and of its configuration.
    pub(super) size: u64,
    /// Bottom first.
    pub(super) layers: Vec<ChainId>,
    /// When it was written, in nanoseconds since the epoch: the later of two that bear one tag has it.
    pub(super) written_at: i64,
    pub(super) config: String,
    pub(super) manifest: Option<String>,
}

impl Record {
    /// A record of an image without names.
    pub(super) fn new(id: Digest, config: String, manifest: Option<String>, layers: Vec<ChainId>) -> Self {
        let (repo_tags, repo_digests) = (Vec::new(), Vec::new());
        Self {
            version: VERSION,
            id,
            repo_tags,
            repo_digests,
            size: 0,
            layers,
            written_at: 0,
            config,
            manifest,
        }
    }

    /// Where the record of this image stands.
    pub(super) fn path(folder: &Path, id: &Digest) -> PathBuf {
        folder.join(format!("{}.json", id.hex()))
    }

    /// Reads one and checks it against its own name.
    pub(super) fn read(folder: &Path, id: &Digest) -> io::Result<Self> {
        let damaged = |why: &'static str| io::Error::new(io::ErrorKind::InvalidData, why);
        let bytes = store::read_up_to(&Self::path(folder, id), RECORD_MAX)?.ok_or(io::ErrorKind::NotFound)?;
        let record: Self = serde_json::from_slice(&bytes)?;
        if record.version > VERSION {
            return Err(damaged("a newer version of this program wrote it"));
        }
        if record.id != *id || Digest::of(record.config.as_bytes()) != *id {
            return Err(damaged("its configuration is not the one of its name"));
        }
        Ok(record)
    }

    /// Writes it: the image is in the catalogue from here on.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        store::replace(&Self::path(folder, &self.id), &serde_json::to_vec(self)?)
    }

    /// What the manifest notes; it has been read before, so what cannot be read is nothing.
    fn annotations(&self) -> BTreeMap<String, String> {
        #[derive(Deserialize)]
        struct Notes {
            annotations: Option<BTreeMap<String, String>>,
        }
        let notes = self.manifest.as_ref().and_then(|text| serde_json::from_str::<Notes>(text).ok());
        notes.and_then(|notes| notes.annotations).unwrap_or_default()
    }

    /// What the rest of the program sees.
    pub(super) fn image(&self) -> io::Result<Image> {
        Ok(Image {
            id: self.id.as_str().to_owned(),
            repo_tags: self.repo_tags.clone(),
            repo_digests: self.repo_digests.clone(),
            size: self.size,
            config: serde_json::from_str(&self.config)?,
            annotations: self.annotations(),
            layers: self.layers.clone(),
        })
    }
}
