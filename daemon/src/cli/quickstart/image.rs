//! Quickstart's image: one static program of ours, packed as an OCI layout.
//!
//! Never: needs anything from the host or the network.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::exit::Failure;
use crate::embedded::DEMO;

pub(super) const NAME: &str = "taffrail.local/demo:latest";
pub(super) const PROGRAM: &str = "/demo";

/// Writes the image's file below the folder.
pub(super) fn write(folder: &Path) -> Result<PathBuf, Failure> {
    let path = folder.join("demo.tar");
    pack(&path).map_err(|e| Failure::failed(format!("{} cannot be written: {e}", path.display())))?;
    Ok(path)
}

struct Blob {
    digest: String,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        let hash = Sha256::digest(&bytes);
        Self { digest: hash.iter().map(|byte| format!("{byte:02x}")).collect(), bytes }
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": format!("sha256:{}", self.digest), "size": self.bytes.len() })
    }
}

fn pack(path: &Path) -> io::Result<()> {
    let layer = {
        let mut tar = tar::Builder::new(Vec::new());
        entry(&mut tar, PROGRAM.trim_start_matches('/'), DEMO, 0o755)?;
        Blob::new(tar.into_inner()?)
    };
    let config = Blob::new(
        json!({
            "architecture": "amd64",
            "os": "linux",
            "config": { "Entrypoint": [PROGRAM], "Cmd": ["hello"] },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", layer.digest)] },
        })
        .to_string()
        .into_bytes(),
    );
    let manifest = Blob::new(
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
            "layers": [layer.descriptor("application/vnd.oci.image.layer.v1.tar")],
        })
        .to_string()
        .into_bytes(),
    );
    let mut found = manifest.descriptor("application/vnd.oci.image.manifest.v1+json");
    found["annotations"] = json!({ "org.opencontainers.image.ref.name": NAME });
    let index = json!({ "schemaVersion": 2, "manifests": [found] }).to_string();

    let mut tar = tar::Builder::new(File::create(path)?);
    entry(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
    entry(&mut tar, "index.json", index.as_bytes(), 0o644)?;
    for blob in [&config, &manifest, &layer] {
        entry(&mut tar, &format!("blobs/sha256/{}", blob.digest), &blob.bytes, 0o644)?;
    }
    tar.into_inner()?.sync_all()
}

fn entry<W: io::Write>(tar: &mut tar::Builder<W>, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    tar.append_data(&mut header, name, bytes)
}
