//! The import of images from a file or folder: documents first, then layers, the records last.
//!
//! Owns: the order, the verification of each layer, and that a failure leaves nothing. Never: decides names.

use std::{cell::Cell, collections::BTreeSet, path::Path, sync::Arc};

use crate::{
    image::{
        Image, ImageError, Progress,
        archive::{Archive, check_length},
        candidate::{Candidate, Layer},
        forms::candidates,
        images::Shared,
        layer::{commit, unpack},
        limits::PROGRESS_STEP,
        record::Record,
    },
    snapshot::{Below, ChainId},
    steps,
};

/// Imports everything for this machine in `source`.
pub(super) fn import(
    shared: &Shared,
    source: &Path,
    progress: &dyn Fn(Progress),
) -> Result<Vec<Arc<Image>>, ImageError> {
    let archive = Archive::open(source, shared.folder())?;
    let candidates = candidates(&archive)?;
    let chains: BTreeSet<ChainId> = candidates.iter().flat_map(Candidate::chains).collect();
    shared.catalogue().hold(&chains);
    let work =
        Import { shared, archive: &archive, progress, done: Cell::new(0), told: Cell::new(0), total: 0 };
    let imported = work.run(&candidates);
    shared.catalogue().let_go(&chains);
    if imported.is_err() {
        shared.free_unused(chains);
    }
    imported
}

struct Import<'a> {
    shared: &'a Shared,
    archive: &'a Archive,
    progress: &'a dyn Fn(Progress),
    /// Bytes of layers read, in all and when last told.
    done: Cell<u64>,
    told: Cell<u64>,
    total: u64,
}

impl Import<'_> {
    fn run(mut self, candidates: &[Candidate]) -> Result<Vec<Arc<Image>>, ImageError> {
        let mut seen = BTreeSet::new();
        for layer in candidates.iter().flat_map(|candidate| &candidate.layers) {
            if seen.insert(&layer.chain) && !self.shared.snapshots().has(&layer.chain) {
                let blob = self.archive.need(&layer.source.name)?;
                check_length(&layer.source.name, layer.source.size, blob.len())?;
                self.total += blob.len();
            }
        }
        for candidate in candidates {
            let chains = candidate.chains();
            for (height, layer) in candidate.layers.iter().enumerate() {
                self.layer(layer, &chains[..height])?;
            }
        }
        candidates.iter().map(|candidate| record(self.shared, candidate)).collect()
    }

    /// Unpacks one layer, unless it is there.
    fn layer(&self, layer: &Layer, below: &[ChainId]) -> Result<(), ImageError> {
        let tell = |bytes| self.tell(bytes, layer);
        commit(self.shared, layer, Below::there(below), &mut |fresh| {
            let blob = self.archive.need(&layer.source.name)?;
            check_length(&layer.source.name, layer.source.size, blob.len())?;
            self.tell(0, layer);
            unpack(layer, blob, fresh, self.shared.bounds(), &tell)
        })
    }

    fn tell(&self, bytes: u64, layer: &Layer) {
        self.done.set(self.done.get() + bytes);
        if bytes == 0 || self.done.get() - self.told.get() >= PROGRESS_STEP || self.done.get() == self.total {
            self.told.set(self.done.get());
            let what = format!("layer {}", layer.diff_id);
            (self.progress)(Progress { done_bytes: self.done.get(), total_bytes: self.total, what });
        }
    }
}

/// Enters an image whose layers are there.
pub(super) fn record(shared: &Shared, candidate: &Candidate) -> Result<Arc<Image>, ImageError> {
    steps::check("image.record").map_err(|source| ImageError::Catalogue {
        what: "enter",
        path: candidate.id.as_str().into(),
        source,
    })?;
    let layers = candidate.chains();
    let (config, manifest) = (candidate.config_text.clone(), candidate.manifest_text.clone());
    let mut record = Record::new(candidate.id.clone(), config, manifest, layers);
    let sizes = record.layers.iter().map(|chain| shared.snapshots().size(chain).unwrap_or(0));
    record.size = sizes.fold(record.config.len() as u64, u64::saturating_add);
    for name in &candidate.names {
        add(&mut record.repo_tags, name.tagged());
        for manifest in &candidate.manifests {
            add(&mut record.repo_digests, Some(format!("{}@{manifest}", name.repository)));
        }
    }
    shared.enter(record)
}

/// Adds a text once.
pub(super) fn add(list: &mut Vec<String>, text: Option<String>) {
    if let Some(text) = text
        && !list.contains(&text)
    {
        list.push(text);
    }
}
