//! From a name to the documents of one image for this machine.
//!
//! Owns: which place the image is taken from. Never: reads a layer. After this everything is asked for by digest.

use crate::image::{
    Digest, ImageError, Reference, RegistryError,
    candidate::{Candidate, LayerSource, text},
    documents::{Descriptor, Document, choose},
    limits::INDEX_DEPTH,
    registry::Session,
};
use crate::operations;

/// What was found, and where.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) candidate: Candidate,
    /// The place that had it.
    pub(super) at: usize,
}

/// Asks the places in their order; the last one's failure is the answer.
pub(super) async fn resolve(session: &Session, name: &Reference) -> Result<Found, ImageError> {
    let mut at = 0;
    loop {
        let _waiting = operations::waiting(|| format!("the registry {}", session.host(at)));
        match documents(session, at, name).await {
            Ok(candidate) => return Ok(Found { candidate, at }),
            Err(error) if at + 1 < session.places() => {
                let (error, host): (&dyn std::error::Error, _) = (&error, session.host(at));
                tracing::warn!(image = %name, host, error, "a mirror does not have an image; the next is asked");
                at += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn documents(session: &Session, at: usize, name: &Reference) -> Result<Candidate, ImageError> {
    let failed = |source| ImageError::Registry { image: name.to_string(), source };
    let tag = name.tag.as_deref().unwrap_or("latest");
    let mut fetched = session.manifest(at, tag, name.digest.as_ref()).await.map_err(failed)?;
    let top = fetched.digest.clone();
    for _ in 0..=INDEX_DEPTH {
        let what = format!("manifest {} of image {name}", fetched.digest);
        match Document::parse(&what, &fetched.bytes, fetched.media_type.as_deref())? {
            Document::Index(entries) => {
                let entry = choose(&what, &entries)?;
                let digest = entry.digest(&what)?;
                let stated = entry.media_type.clone();
                let length = entry.size;
                fetched = session.manifest(at, tag, Some(&digest)).await.map_err(failed)?;
                check(&digest, length, fetched.bytes.len())?;
                fetched.media_type = stated.or(fetched.media_type);
            }
            Document::Manifest { config, layers } => {
                let digest = config.digest(&what)?;
                let text_of = text(&what, fetched.bytes)?;
                let configuration = session.configuration(at, &digest).await.map_err(failed)?;
                check(&digest, config.size, configuration.bytes.len())?;
                let sources = layers.iter().map(|layer| source(&what, layer)).collect::<Result<_, _>>()?;
                let mut candidate = Candidate::new(configuration.bytes, sources)?;
                candidate.manifest_text = Some(text_of);
                candidate.manifests.push(top);
                // A digest says more than a tag beside it, which nobody has verified.
                let tag = name.tag.clone().filter(|_| name.digest.is_none());
                candidate.add_name(Reference { tag, ..name.clone() });
                return Ok(candidate);
            }
        }
    }
    let why = format!("lies below more than {INDEX_DEPTH} indexes");
    Err(ImageError::Document { name: format!("the manifest of image {name}"), why })
}

fn source(what: &str, layer: &Descriptor) -> Result<LayerSource, ImageError> {
    let digest = layer.digest(what)?;
    if layer.size.is_none() {
        let why = format!("says no size of layer {digest}");
        return Err(ImageError::Document { name: what.to_owned(), why });
    }
    Ok(LayerSource { name: digest.as_str().to_owned(), digest: Some(digest), size: layer.size })
}

fn check(digest: &Digest, stated: Option<u64>, found: usize) -> Result<(), ImageError> {
    match stated {
        Some(expected) if expected != found as u64 => {
            Err(ImageError::WrongLength { name: digest.to_string(), expected, found: found as u64 })
        }
        _ => Ok(()),
    }
}

/// Whether another place may do better than the one that failed so.
pub(super) fn is_of_one_place(error: &ImageError) -> bool {
    match error {
        ImageError::Registry { source, .. } => RegistryError::is_of_one_place(source),
        ImageError::WrongDigest { .. } | ImageError::WrongLength { .. } | ImageError::Layer { .. } => true,
        _ => false,
    }
}
