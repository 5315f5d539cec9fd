//! Makes OCI layouts as folders: any number of layers, in any compression; one image or an index of several.
//!
//! Owns: the documents' form. Never: what stands in a layer.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::registry::digest;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// How a layer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// A layout in the making.
#[derive(Debug)]
pub struct Layout {
    folder: PathBuf,
}

impl Layout {
    /// In this folder, which is made.
    ///
    /// # Errors
    /// The disk fails.
    pub fn new(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder.join("blobs/sha256"))?;
        put(&folder.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Adds a blob; its descriptor.
    ///
    /// # Errors
    /// The disk fails.
    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> io::Result<Value> {
        let digest = digest(bytes);
        put(&self.folder.join("blobs").join(digest.replace(':', "/")), bytes)?;
        Ok(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
    }

    /// Adds an image of these layers (plain tars, bottom first) and its configuration's `config` object; its
    /// descriptor.
    ///
    /// # Errors
    /// The disk fails.
    pub fn image(&self, layers: &[(&[u8], Packing)], config: &Value) -> io::Result<Value> {
        let diff_ids: Vec<String> = layers.iter().map(|(layer, _)| digest(layer)).collect();
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = self.blob(CONFIG, config.to_string().as_bytes())?;
        let pack = |(layer, packing): &(&[u8], Packing)| {
            let (media_type, bytes) = packed(layer, *packing)?;
            self.blob(media_type, &bytes)
        };
        let layers = layers.iter().map(pack).collect::<io::Result<Vec<_>>>()?;
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        self.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    /// Adds an index of these entries; its descriptor.
    ///
    /// # Errors
    /// The disk fails.
    pub fn index(&self, entries: &[Value]) -> io::Result<Value> {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
        self.blob(INDEX, index.to_string().as_bytes())
    }

    /// Makes this the layout's one entry.
    ///
    /// # Errors
    /// The disk fails.
    pub fn enter(&self, entry: &Value) -> io::Result<()> {
        let index = json!({ "schemaVersion": 2, "manifests": [entry] });
        put(&self.folder.join("index.json"), index.to_string().as_bytes())
    }
}

/// A layer as it is sent, with its media type.
///
/// # Errors
/// The packer fails.
pub fn packed(layer: &[u8], packing: Packing) -> io::Result<(&'static str, Vec<u8>)> {
    Ok(match packing {
        Packing::Plain => ("application/vnd.oci.image.layer.v1.tar", layer.to_vec()),
        Packing::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(layer)?;
            ("application/vnd.oci.image.layer.v1.tar+gzip", encoder.finish()?)
        }
        Packing::Zstd => ("application/vnd.oci.image.layer.v1.tar+zstd", zstd::encode_all(layer, 3)?),
    })
}

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes)
}
