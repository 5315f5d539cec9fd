//! One layer from its blob's bytes to its place in the layer store.
//!
//! Owns: the verification of a layer: nothing of it is seen before both its digests are right. Never: knows where
//! the bytes come from.

use std::io::{self, BufReader, Read};

use crate::{
    image::{
        Digest, ImageError,
        blob::{Decoder, Hashing},
        candidate::Layer,
        images::Shared,
        limits::BUFFER,
        tar_stream::TarStream,
        unpack::{Bounds, UnpackError, Unpacker},
    },
    snapshot::{Below, FillError, Fresh, SnapshotError},
    steps,
};

/// Puts one layer into the store, unless it is there. `fill` unpacks it. Blocking.
pub(super) fn commit(
    shared: &Shared,
    layer: &Layer,
    below: Below<'_>,
    fill: &mut dyn FnMut(&Fresh<'_>) -> Result<u64, ImageError>,
) -> Result<(), ImageError> {
    let _turn = shared.locks().lock(&layer.chain);
    if shared.snapshots().has(&layer.chain) {
        return Ok(());
    }
    steps::reach("image.layer");
    let mut fill = |fresh: &Fresh<'_>| fill(fresh).map_err(FillError::from);
    match shared.snapshots().commit(&layer.chain, below, &mut fill) {
        // What went wrong is ours: say that, and not that the store was told.
        Err(SnapshotError::Fill { chain, source }) => match source.downcast::<ImageError>() {
            Ok(ours) => Err(*ours),
            Err(source) => Err(SnapshotError::Fill { chain, source }.into()),
        },
        other => Ok(other?),
    }
}

/// Unpacks one layer and checks both its digests. Returns the bytes of its files.
pub(super) fn unpack(
    layer: &Layer,
    blob: impl Read,
    fresh: &Fresh<'_>,
    bounds: Bounds,
    tell: &dyn Fn(u64),
) -> Result<u64, ImageError> {
    let name = layer.source.digest.as_ref().map_or(layer.source.name.as_str(), Digest::as_str);
    let refused = |source: UnpackError| ImageError::Layer { layer: name.to_owned(), source };
    let unreadable = |source: io::Error| refused(UnpackError::Read { offset: 0, source });
    let wrong = |expected: &Digest, found: Digest| ImageError::WrongDigest {
        name: format!("layer {}", layer.source.name),
        expected: expected.clone(),
        found,
    };
    let mut packed = Hashing::new(blob, u64::MAX, tell);
    match decode(&mut packed, fresh, bounds) {
        Ok((size, diff_id)) => {
            // What follows the archive's end belongs to the digest.
            let (digest, _) = packed.finish().map_err(unreadable)?;
            match &layer.source.digest {
                Some(expected) if *expected != digest => Err(wrong(expected, digest)),
                _ if diff_id != layer.diff_id => Err(wrong(&layer.diff_id, diff_id)),
                _ => Ok(size),
            }
        }
        // Damage is best explained by the digest, where that is wrong too.
        Err(error) if error.is_damage() => match (&layer.source.digest, packed.finish()) {
            (Some(expected), Ok((found, _))) if found != *expected => Err(wrong(expected, found)),
            _ => Err(refused(error)),
        },
        Err(error) => Err(refused(error)),
    }
}

/// Unpacks; returns the bytes of the files and the digest of all that was decompressed.
fn decode<R: Read>(
    packed: &mut Hashing<'_, R>,
    fresh: &Fresh<'_>,
    bounds: Bounds,
) -> Result<(u64, Digest), UnpackError> {
    let packed = BufReader::with_capacity(BUFFER, packed);
    let mut plain = Hashing::new(Decoder::new(packed)?, bounds.bytes, &|_| {});
    // Headers are small: they are not to be inflated and hashed one by one.
    let tar = BufReader::with_capacity(BUFFER, &mut plain);
    let size = Unpacker::new(fresh, bounds)?.run(&mut TarStream::new(tar))?;
    let (diff_id, _) = plain.finish().map_err(|source| UnpackError::Read { offset: size, source })?;
    Ok((size, diff_id))
}
