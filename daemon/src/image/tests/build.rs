//! Builds archives and layouts for the tests, lawful ones and hostile ones.
//!
//! Never: used outside tests.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::image::Digest;

pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A tar archive in the making. Names go into headers as they are.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    /// One entry with header fields for anything.
    pub(crate) fn entry(mut self, letter: u8, name: &[u8], link: &[u8], mode: u32, data: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        header.set_entry_type(tar::EntryType::new(letter));
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        if name.len() <= 100 {
            header.as_old_mut().name[..name.len()].copy_from_slice(name);
        } else {
            self = self.entry(b'L', b"././@LongLink", b"", 0, name);
        }
        header.set_cksum();
        self.header(&header, data)
    }

    pub(crate) fn header(mut self, header: &tar::Header, data: &[u8]) -> Self {
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(b'0', name.as_bytes(), b"", 0o644, data)
    }

    pub(crate) fn folder(self, name: &str) -> Self {
        self.entry(b'5', name.as_bytes(), b"", 0o755, b"")
    }

    pub(crate) fn link(self, name: &str, to: &str) -> Self {
        self.entry(b'2', name.as_bytes(), to.as_bytes(), 0o777, b"")
    }

    pub(crate) fn hard_link(self, name: &str, to: &str) -> Self {
        self.entry(b'1', name.as_bytes(), to.as_bytes(), 0o644, b"")
    }

    /// Extended headers for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let length = (body + 1..).find(|n| n.to_string().len() + body == *n).unwrap();
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.entry(b'x', b"pax", b"", 0o644, &data)
    }

    pub(crate) fn bytes(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// An OCI layout in memory: files by name.
#[derive(Debug, Default, Clone)]
pub(super) struct Layout {
    pub(super) files: Vec<(String, Vec<u8>)>,
    entries: Vec<Value>,
}

impl Layout {
    pub(super) fn blob(&mut self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.files.push((format!("blobs/sha256/{}", digest.hex()), bytes.to_vec()));
        digest
    }

    pub(super) fn descriptor(&mut self, kind: &str, bytes: &[u8]) -> Value {
        json!({"mediaType": kind, "digest": self.blob(bytes), "size": bytes.len()})
    }

    /// A manifest of layers given as (packed, plain). Returns its descriptor and the image's id.
    pub(super) fn manifest(&mut self, layers: &[(Vec<u8>, Vec<u8>)]) -> (Value, Digest) {
        let diff_ids: Vec<Digest> = layers.iter().map(|(_, plain)| Digest::of(plain)).collect();
        let config = config(&diff_ids);
        let config_entry = self.descriptor(CONFIG, &config);
        let layers: Vec<Value> = layers.iter().map(|(packed, _)| self.descriptor(LAYER, packed)).collect();
        let manifest = manifest(&config_entry, &layers);
        (self.descriptor(MANIFEST, &manifest), Digest::of(&config))
    }

    /// An image of plain layers under a name.
    pub(super) fn image(&mut self, name: &str, layers: &[Vec<u8>]) -> Digest {
        let layers: Vec<_> = layers.iter().map(|plain| (plain.clone(), plain.clone())).collect();
        let (mut entry, id) = self.manifest(&layers);
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        self.entry(entry);
        id
    }

    pub(super) fn entry(&mut self, entry: Value) {
        self.entries.push(entry);
    }

    fn all(&self) -> Vec<(String, Vec<u8>)> {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.entries});
        let mut files = self.files.clone();
        files.push(("index.json".to_owned(), index.to_string().into_bytes()));
        files.push(("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
        files
    }

    pub(super) fn tar(&self) -> Vec<u8> {
        self.all().iter().fold(Tar::default(), |tar, (name, bytes)| tar.file(name, bytes)).bytes()
    }

    pub(super) fn write_tar(&self, folder: &Path) -> PathBuf {
        write(folder, "layout.tar", &self.tar())
    }

    pub(super) fn write_folder(&self, folder: &Path) -> PathBuf {
        let layout = folder.join("layout");
        for (name, bytes) in self.all() {
            write(&layout, &name, &bytes);
        }
        layout
    }
}

pub(super) fn config(diff_ids: &[Digest]) -> Vec<u8> {
    let config = json!({
        "architecture": crate::image::documents::architecture(), "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], "Entrypoint": null},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    config.to_string().into_bytes()
}

pub(super) fn manifest(config: &Value, layers: &[Value]) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
        .to_string()
        .into_bytes()
}

pub(super) fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(bytes).unwrap();
    path
}
