//! The forms in which images travel in files: the OCI layout, and what `docker save` writes, old and new.
//!
//! Owns: finding images and their names in an archive. Never: reads a layer.

use std::collections::HashMap;

use crate::image::{
    Digest, ImageError, Reference,
    archive::{Archive, blob_name},
    candidate::{Candidate, LayerSource, text},
    documents::{Descriptor, Document, architecture, choose, docker_images},
    limits::{CONFIG_MAX, INDEX_DEPTH, MANIFEST_MAX, NAMES_MAX},
};

const INDEX: &str = "index.json";
const DOCKER: &str = "manifest.json";

/// A whole name: containerd and newer Docker write it.
const NAME: &str = "io.containerd.image.name";
/// A whole name, or only a tag: the layout's own.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Every image for this machine in an archive, each once.
pub(super) fn candidates(archive: &Archive) -> Result<Vec<Candidate>, ImageError> {
    let index = archive.document(INDEX, MANIFEST_MAX)?;
    let docker = archive.document(DOCKER, MANIFEST_MAX)?;
    let mut found = Vec::new();
    match (&index, &docker) {
        (None, None) => return Err(ImageError::NotAnImage(archive.path().to_owned())),
        (Some(index), _) => layout(archive, index, &mut found)?,
        (None, Some(docker)) => docker_archive(archive, docker, &mut found)?,
    }
    if index.is_some()
        && let Some(docker) = &docker
    {
        docker_names(archive, docker, &mut found)?;
    }
    if found.is_empty() {
        let name = archive.path().display().to_string();
        return Err(ImageError::Platform { name, wanted: format!("linux/{}", architecture()) });
    }
    Ok(found)
}

fn layout(archive: &Archive, index: &[u8], found: &mut Vec<Candidate>) -> Result<(), ImageError> {
    let Document::Index(entries) = Document::parse(INDEX, index, None)? else {
        let why = "is a manifest where an index is due".to_owned();
        return Err(ImageError::Document { name: INDEX.to_owned(), why });
    };
    for entry in &entries {
        if entry.fits() == Some(false) {
            continue;
        }
        let mut candidate = resolve(archive, entry, INDEX_DEPTH)?;
        if let Some(name) = entry.annotations.as_ref().and_then(name_of) {
            candidate.add_name(name);
        }
        add(found, candidate);
    }
    Ok(())
}

/// Follows a descriptor to the image for this machine.
fn resolve(archive: &Archive, descriptor: &Descriptor, depth: usize) -> Result<Candidate, ImageError> {
    let digest = descriptor.digest(INDEX)?;
    let name = blob_name(&digest);
    let bytes = archive.blob(&digest, descriptor.size, MANIFEST_MAX)?;
    let mut candidate = match Document::parse(&name, &bytes, descriptor.media_type.as_deref())? {
        Document::Index(_) if depth == 0 => {
            let why = format!("lies below more than {INDEX_DEPTH} indexes");
            return Err(ImageError::Document { name, why });
        }
        Document::Index(entries) => resolve(archive, choose(&name, &entries)?, depth - 1)?,
        Document::Manifest { config, layers } => {
            let config = archive.blob(&config.digest(&name)?, config.size, CONFIG_MAX)?;
            let source = |layer: &Descriptor| -> Result<LayerSource, ImageError> {
                let digest = layer.digest(&name)?;
                Ok(LayerSource { name: blob_name(&digest), digest: Some(digest), size: layer.size })
            };
            let sources = layers.iter().map(source).collect::<Result<_, _>>()?;
            let mut candidate = Candidate::new(config, sources)?;
            candidate.manifest_text = Some(text(&name, bytes)?);
            candidate
        }
    };
    candidate.manifests.push(digest);
    Ok(candidate)
}

fn docker_archive(archive: &Archive, docker: &[u8], found: &mut Vec<Candidate>) -> Result<(), ImageError> {
    for image in docker_images(docker)? {
        let config = archive.document(&image.config, CONFIG_MAX)?;
        let config = config.ok_or_else(|| ImageError::Missing(image.config.clone()))?;
        check_name(&image.config, &config)?;
        let layers = image.layers.unwrap_or_default();
        let source = |name: String| LayerSource { digest: digest_in(&name), name, size: None };
        let mut candidate = Candidate::new(config, layers.into_iter().map(source).collect())?;
        add_tags(&mut candidate, image.repo_tags)?;
        add(found, candidate);
    }
    Ok(())
}

/// Takes the names that newer `docker save` writes beside a layout.
fn docker_names(archive: &Archive, docker: &[u8], found: &mut [Candidate]) -> Result<(), ImageError> {
    for image in docker_images(docker)? {
        let Some(config) = archive.document(&image.config, CONFIG_MAX)? else { continue };
        let id = Digest::of(&config);
        if let Some(candidate) = found.iter_mut().find(|candidate| candidate.id == id) {
            add_tags(candidate, image.repo_tags)?;
        }
    }
    Ok(())
}

fn add_tags(candidate: &mut Candidate, tags: Option<Vec<String>>) -> Result<(), ImageError> {
    for tag in tags.unwrap_or_default() {
        if candidate.names.len() >= NAMES_MAX {
            return Err(ImageError::TooMany { name: DOCKER.to_owned(), what: "names", max: NAMES_MAX });
        }
        match Reference::parse(&tag) {
            Some(name) => candidate.add_name(name),
            None => {
                let why = format!(
                    "names an image {:?}, which is no name",
                    tag.chars().take(200).collect::<String>()
                );
                return Err(ImageError::Document { name: DOCKER.to_owned(), why });
            }
        }
    }
    Ok(())
}

fn add(found: &mut Vec<Candidate>, candidate: Candidate) {
    match found.iter_mut().find(|there| there.id == candidate.id) {
        Some(there) => there.merge(candidate),
        None => found.push(candidate),
    }
}

/// A configuration's file name is its digest: `<hex>.json`, or a blob of a layout.
fn check_name(name: &str, config: &[u8]) -> Result<(), ImageError> {
    let found = Digest::of(config);
    match digest_in(name) {
        Some(expected) if expected != found => {
            Err(ImageError::WrongDigest { name: name.to_owned(), expected, found })
        }
        _ => Ok(()),
    }
}

/// The digest that a file name states, if it does. `<id>/layer.tar` states none: old Docker's layer ids are no
/// digests of the file.
fn digest_in(name: &str) -> Option<Digest> {
    let hex = name.strip_prefix("blobs/sha256/").or_else(|| name.strip_suffix(".json"))?;
    Digest::parse(&format!("sha256:{hex}"))
}

/// The name that an index gives an entry. A bare tag without a repository names nothing.
fn name_of(annotations: &HashMap<String, String>) -> Option<Reference> {
    let whole = annotations.get(NAME).and_then(|name| Reference::parse(name));
    let of_layout = || {
        let name = annotations.get(REF_NAME)?;
        let tag_only = !name.contains(['/', ':', '@']) && name == "latest";
        if tag_only { None } else { Reference::parse(name) }
    };
    whole.or_else(of_layout)
}
