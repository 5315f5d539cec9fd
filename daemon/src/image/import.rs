//! The import of images from a file or folder: documents first, then layers, the records last.
//!
//! Owns: the order, the verification of each layer, and that a failure leaves nothing. Never: decides names.

use std::{cell::Cell, collections::BTreeSet, io::BufReader, path::Path, sync::Arc};

use crate::{
    image::{
        Digest, Image, ImageError, Progress,
        archive::{Archive, check_length, digest_of},
        blob::{Decoder, Hashing, Section},
        candidate::{Candidate, Layer},
        forms::candidates,
        images::Shared,
        limits::{BUFFER, PROGRESS_STEP},
        record::Record,
        tar_stream::TarStream,
        unpack::{Bounds, UnpackError, Unpacker},
    },
    snapshot::{ChainId, Fresh, SnapshotError},
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
        steps::reach("image.record");
        candidates.iter().map(|candidate| self.record(candidate)).collect()
    }

    /// Unpacks one layer, unless it is there.
    fn layer(&self, layer: &Layer, below: &[ChainId]) -> Result<(), ImageError> {
        let _turn = self.shared.locks().lock(&layer.chain);
        if self.shared.snapshots().has(&layer.chain) {
            return Ok(());
        }
        steps::reach("image.layer");
        let blob = self.archive.need(&layer.source.name)?;
        check_length(&layer.source.name, layer.source.size, blob.len())?;
        self.tell(0, layer);
        let tell = |bytes| self.tell(bytes, layer);
        let mut fill = |fresh: &Fresh<'_>| {
            unpack(layer, blob.clone(), fresh, self.shared.bounds(), &tell).map_err(Into::into)
        };
        match self.shared.snapshots().commit(&layer.chain, below, &mut fill) {
            // What went wrong is ours: say that, and not that the store was told.
            Err(SnapshotError::Fill { chain, source }) => match source.downcast::<ImageError>() {
                Ok(ours) => Err(*ours),
                Err(source) => Err(SnapshotError::Fill { chain, source }.into()),
            },
            other => Ok(other?),
        }
    }

    fn record(&self, candidate: &Candidate) -> Result<Arc<Image>, ImageError> {
        let layers = candidate.chains();
        let (config, manifest) = (candidate.config_text.clone(), candidate.manifest_text.clone());
        let mut record = Record::new(candidate.id.clone(), config, manifest, layers);
        let sizes = record.layers.iter().map(|chain| self.shared.snapshots().size(chain).unwrap_or(0));
        record.size = sizes.fold(record.config.len() as u64, u64::saturating_add);
        for name in &candidate.names {
            add(&mut record.repo_tags, name.tagged());
            for manifest in &candidate.manifests {
                add(&mut record.repo_digests, Some(format!("{}@{manifest}", name.repository)));
            }
        }
        self.shared.enter(record)
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

/// Adds a text once.
pub(super) fn add(list: &mut Vec<String>, text: Option<String>) {
    if let Some(text) = text
        && !list.contains(&text)
    {
        list.push(text);
    }
}

/// Unpacks one layer and checks both its digests. Returns the bytes of its files.
fn unpack(
    layer: &Layer,
    blob: Section,
    fresh: &Fresh<'_>,
    bounds: Bounds,
    tell: &dyn Fn(u64),
) -> Result<u64, ImageError> {
    let name = layer.source.digest.as_ref().map_or(layer.source.name.as_str(), Digest::as_str);
    let refused = |source: UnpackError| ImageError::Layer { layer: name.to_owned(), source };
    let whole = blob.clone();
    let unreadable = |source| refused(UnpackError::Read { offset: 0, source });
    let unpacked = || -> Result<(u64, Digest, Digest), UnpackError> {
        let read = |offset| move |source| UnpackError::Read { offset, source };
        let packed = BufReader::with_capacity(BUFFER, Hashing::new(blob, u64::MAX, tell));
        let mut plain = Hashing::new(Decoder::new(packed)?, bounds.bytes, &|_| {});
        let size = Unpacker::new(fresh, bounds)?.run(&mut TarStream::new(&mut plain))?;
        // What follows the archive's end belongs to both digests.
        let (diff_id, decoder) = plain.finish().map_err(read(size))?;
        let (digest, _) = decoder.into_inner().into_inner().finish().map_err(read(size))?;
        Ok((size, diff_id, digest))
    };
    let wrong = |expected: &Digest, found: Digest| ImageError::WrongDigest {
        name: format!("layer {}", layer.source.name),
        expected: expected.clone(),
        found,
    };
    match unpacked() {
        Ok((size, diff_id, digest)) => match &layer.source.digest {
            Some(expected) if *expected != digest => Err(wrong(expected, digest)),
            _ if diff_id != layer.diff_id => Err(wrong(&layer.diff_id, diff_id)),
            _ => Ok(size),
        },
        // Damage is best explained by the digest, where that is wrong too.
        Err(error) if error.is_damage() => match &layer.source.digest {
            None => Err(refused(error)),
            Some(expected) => {
                let found = digest_of(whole).map_err(unreadable)?;
                if found == *expected { Err(refused(error)) } else { Err(wrong(expected, found)) }
            }
        },
        Err(error) => Err(refused(error)),
    }
}
