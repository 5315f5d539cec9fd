//! An image that is about to be imported: its documents are read and checked, its layers are not yet touched.
//!
//! Owns: that manifest and configuration fit together. Never: reads a layer.

use oci_spec::image::{ImageConfiguration, Os};

use crate::{
    image::{Digest, ImageError, Reference, documents::architecture},
    snapshot::ChainId,
};

/// One layer and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct LayerSource {
    /// Name in the archive.
    pub(super) name: String,
    /// Digest of its bytes as they stand in the archive, where that is known.
    pub(super) digest: Option<Digest>,
    /// Their length, where that is known.
    pub(super) size: Option<u64>,
}

/// One layer with what the configuration says of it.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) source: LayerSource,
    /// Digest of the archive when decompressed.
    pub(super) diff_id: Digest,
    pub(super) chain: ChainId,
}

/// One image.
#[derive(Debug)]
pub(super) struct Candidate {
    /// The digest of its configuration.
    pub(super) id: Digest,
    /// The configuration's own bytes, and the manifest's where there is one.
    pub(super) config_text: String,
    pub(super) manifest_text: Option<String>,
    /// Digests by which a registry would know it: of its manifest, and of an index that led there.
    pub(super) manifests: Vec<Digest>,
    pub(super) names: Vec<Reference>,
    /// Bottom first.
    pub(super) layers: Vec<Layer>,
}

impl Candidate {
    /// Checks a configuration and lays the layers beside it.
    pub(super) fn new(config: Vec<u8>, sources: Vec<LayerSource>) -> Result<Self, ImageError> {
        let name = "the image's configuration";
        let id = Digest::of(&config);
        let json = |source| ImageError::Json { name: name.to_owned(), source };
        let parsed: ImageConfiguration = serde_json::from_slice(&config).map_err(json)?;
        let config_text = text(name, config)?;
        if *parsed.os() != Os::Linux {
            let wanted = format!("linux/{}", architecture());
            return Err(ImageError::Platform { name: name.to_owned(), wanted });
        }
        let diff_ids = parsed.rootfs().diff_ids();
        if diff_ids.len() != sources.len() {
            return Err(ImageError::LayerCount { layers: sources.len(), diff_ids: diff_ids.len() });
        }
        let mut layers: Vec<Layer> = Vec::with_capacity(sources.len());
        for (source, diff_id) in sources.into_iter().zip(diff_ids) {
            let bad =
                || ImageError::BadDigest { name: name.to_owned(), text: diff_id.chars().take(200).collect() };
            let diff_id = Digest::parse(diff_id).ok_or_else(bad)?;
            let chain = diff_id.over(layers.last().map(|layer| &layer.chain));
            layers.push(Layer { source, diff_id, chain });
        }
        let (manifests, names) = (Vec::new(), Vec::new());
        Ok(Self { id, config_text, manifest_text: None, manifests, names, layers })
    }

    /// Takes a name, once.
    pub(super) fn add_name(&mut self, name: Reference) {
        if !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    /// Takes over names and manifests of another find of the same image.
    pub(super) fn merge(&mut self, other: Self) {
        other.names.into_iter().for_each(|name| self.add_name(name));
        for manifest in other.manifests {
            if !self.manifests.contains(&manifest) {
                self.manifests.push(manifest);
            }
        }
        self.manifest_text = self.manifest_text.take().or(other.manifest_text);
    }

    /// The chain ids, bottom first.
    pub(super) fn chains(&self) -> Vec<ChainId> {
        self.layers.iter().map(|layer| layer.chain.clone()).collect()
    }
}

/// A document's bytes as text: JSON is UTF-8.
pub(super) fn text(name: &str, bytes: Vec<u8>) -> Result<String, ImageError> {
    let why = || "is not UTF-8, as JSON must be".to_owned();
    String::from_utf8(bytes).map_err(|_| ImageError::Document { name: name.to_owned(), why: why() })
}
