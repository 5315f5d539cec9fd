//! The JSON documents of images, as far as they are needed: index, manifest, docker archive's manifest.json.
//!
//! Owns: which documents are refused. A document that could be read in two ways is (CVE-2021-41190).
//! Never: reads a file.

use std::collections::HashMap;

use serde::{Deserialize, de::IgnoredAny};

use crate::image::{
    Digest, ImageError,
    limits::{INDEX_MAX, LAYERS_MAX},
};

const INDEX_TYPES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFEST_TYPES: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const CONFIG_TYPES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
const LAYER_TYPES: [&str; 9] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
];

/// What one document says of another.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: Option<String>,
    digest: String,
    pub(super) size: Option<u64>,
    pub(super) annotations: Option<HashMap<String, String>>,
    pub(super) platform: Option<Platform>,
}

/// What machine an image is for.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// An index or a manifest.
#[derive(Debug)]
pub(super) enum Document {
    Index(Vec<Descriptor>),
    Manifest { config: Descriptor, layers: Vec<Descriptor> },
}

/// One image of a docker archive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerImage {
    pub(super) config: String,
    pub(super) repo_tags: Option<Vec<String>>,
    pub(super) layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    fs_layers: Option<IgnoredAny>,
}

impl Descriptor {
    /// The digest, checked.
    pub(super) fn digest(&self, name: &str) -> Result<Digest, ImageError> {
        let bad =
            || ImageError::BadDigest { name: name.to_owned(), text: self.digest.chars().take(200).collect() };
        Digest::parse(&self.digest).ok_or_else(bad)
    }

    /// Whether it says that it is for this machine; `None`: it does not say.
    pub(super) fn fits(&self) -> Option<bool> {
        self.platform.as_ref().map(|p| p.os == "linux" && p.architecture == architecture())
    }
}

/// The entry of an index for this machine: one that says so, else one that says nothing.
pub(super) fn choose<'a>(name: &str, entries: &'a [Descriptor]) -> Result<&'a Descriptor, ImageError> {
    let fitting = entries.iter().filter(|entry| entry.fits() == Some(true));
    let best = fitting.min_by_key(|entry| entry.platform.as_ref().map_or(0, Platform::rank));
    let chosen = best.or_else(|| entries.iter().find(|entry| entry.fits().is_none()));
    let wanted = || format!("linux/{}", architecture());
    chosen.ok_or_else(|| ImageError::Platform { name: name.to_owned(), wanted: wanted() })
}

impl Platform {
    /// Among the variants of one architecture: the plainest first, since every machine of it runs that.
    fn rank(&self) -> u32 {
        let digits =
            self.variant.as_deref().and_then(|variant| variant.strip_prefix('v')?.parse::<u32>().ok());
        match (self.architecture.as_str(), self.variant.as_deref()) {
            (_, None | Some("")) => 0,
            // Every 64-bit ARM is v8; 32-bit ones we run on are v7.
            ("arm64", Some("v8")) | ("arm", Some("v7")) => 1,
            ("arm", _) => 100_u32.saturating_sub(digits.unwrap_or(0)),
            _ => digits.unwrap_or(1000).saturating_add(1),
        }
    }
}

impl Document {
    /// Reads one. `stated` is the media type that the descriptor leading here gave.
    pub(super) fn parse(name: &str, bytes: &[u8], stated: Option<&str>) -> Result<Self, ImageError> {
        let raw: Raw = serde_json::from_slice(bytes)
            .map_err(|source| ImageError::Json { name: name.to_owned(), source })?;
        let wrong = |why: &str| ImageError::Document { name: name.to_owned(), why: why.to_owned() };
        if raw.fs_layers.is_some() {
            return Err(wrong("is of the old schema 1; convert the image"));
        }
        let (document, types) = match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) => {
                check_count(name, "manifests", manifests.len(), INDEX_MAX)?;
                (Self::Index(manifests), INDEX_TYPES)
            }
            (None, Some(config), Some(layers)) => {
                check_count(name, "layers", layers.len(), LAYERS_MAX)?;
                (Self::Manifest { config, layers }, MANIFEST_TYPES)
            }
            (Some(_), _, _) => return Err(wrong("is an index and a manifest at once")),
            (None, _, _) => return Err(wrong("lists neither manifests nor config and layers")),
        };
        for found in [raw.media_type.as_deref(), stated].into_iter().flatten() {
            check_type(name, Some(found), &types)?;
        }
        if let Self::Manifest { config, layers } = &document {
            check_type("the image's configuration", config.media_type.as_deref(), &CONFIG_TYPES)?;
            for layer in layers {
                check_type(
                    &format!("layer {}", layer.digest(name)?),
                    layer.media_type.as_deref(),
                    &LAYER_TYPES,
                )?;
            }
        }
        Ok(document)
    }
}

/// Reads a docker archive's table of images.
pub(super) fn docker_images(bytes: &[u8]) -> Result<Vec<DockerImage>, ImageError> {
    let name = "manifest.json";
    let images: Vec<DockerImage> =
        serde_json::from_slice(bytes).map_err(|source| ImageError::Json { name: name.to_owned(), source })?;
    check_count(name, "images", images.len(), INDEX_MAX)?;
    for image in &images {
        check_count(name, "layers", image.layers.as_ref().map_or(0, Vec::len), LAYERS_MAX)?;
    }
    Ok(images)
}

/// This machine's architecture in Go's words, which the documents use.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

fn check_count(name: &str, what: &'static str, count: usize, max: usize) -> Result<(), ImageError> {
    if count > max {
        return Err(ImageError::TooMany { name: name.to_owned(), what, max });
    }
    Ok(())
}

fn check_type(name: &str, found: Option<&str>, good: &[&str]) -> Result<(), ImageError> {
    match found {
        Some(found) if !good.contains(&found) => {
            Err(ImageError::MediaType { name: name.to_owned(), found: found.chars().take(200).collect() })
        }
        _ => Ok(()),
    }
}
