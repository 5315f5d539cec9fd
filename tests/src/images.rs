//! Images for the tests, packed from Debian's busybox-static: as an OCI layout and as `docker save` writes them.
//!
//! Owns: what stands in the image. Never: runs anything, or needs the network.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The name that the image gets.
pub const BUSYBOX: &str = "docker.io/library/busybox:latest";

/// Where Debian's package busybox-static puts its program.
const PROGRAM: &str = "/bin/busybox";

/// Commands that are hard links to busybox; the rest of [`LINKED`] are symbolic links, so that both kinds are
/// met in every container.
const HARD_LINKED: [&str; 6] = ["sh", "cat", "echo", "sleep", "true", "false"];

const LINKED: [&str; 50] = [
    "ls", "id", "seq", "yes", "head", "tail", "date", "ps", "env", "mount", "umount", "grep", "sed", "awk",
    "wc", "sort", "cut", "tr", "dd", "df", "du", "cp", "mv", "rm", "mkdir", "rmdir", "ln", "touch", "chmod",
    "chown", "stat", "readlink", "kill", "hostname", "uname", "nc", "wget", "ip", "ping", "test", "printf",
    "stty", "tty", "vi", "find", "xargs", "tee", "top", "usleep", "md5sum",
];

/// Whether the host has what these images are made of; if not, say so and skip.
pub fn busybox_is_there() -> bool {
    Path::new(PROGRAM).is_file()
}

/// Writes `busybox.tar`, an OCI layout with one gzip layer, into `dir`. Its name is [`BUSYBOX`].
///
/// # Errors
/// The program is not there (install busybox-static), or the disk fails.
pub fn busybox_image(dir: &Path) -> io::Result<PathBuf> {
    image(dir, "busybox.tar", BUSYBOX, &busybox_layer()?)
}

/// Writes `busybox-save.tar`, the same image as an older `docker save` would, into `dir`.
///
/// # Errors
/// As [`busybox_image`].
pub fn busybox_docker_save(dir: &Path) -> io::Result<PathBuf> {
    let layer = busybox_layer()?;
    let config = config(&[&layer]);
    let config_name = format!("{}.json", hex(&config));
    let table =
        json!([{"Config": config_name, "RepoTags": ["busybox:latest"], "Layers": ["layer/layer.tar"]}]);
    let files = [
        (config_name, config),
        ("layer/layer.tar".to_owned(), layer),
        ("manifest.json".to_owned(), table.to_string().into_bytes()),
    ];
    archive(&dir.join("busybox-save.tar"), &files)
}

/// Writes an OCI layout named `file` into `dir`: one image called `name` with one layer, given as a plain tar.
///
/// # Errors
/// The disk fails.
pub fn image(dir: &Path, file: &str, name: &str, layer: &[u8]) -> io::Result<PathBuf> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(layer)?;
    let packed = encoder.finish()?;
    let config = config(&[layer]);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &packed)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string().into_bytes();
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", hex(bytes));
    let files = [
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index),
        (blob(&manifest), manifest),
        (blob(&config), config),
        (blob(&packed), packed),
    ];
    archive(&dir.join(file), &files)
}

/// The root file system of the busybox image as a plain tar.
fn busybox_layer() -> io::Result<Vec<u8>> {
    let program = fs::read(PROGRAM)?;
    let mut tar = tar::Builder::new(Vec::new());
    for (name, mode) in [("bin", 0o755), ("etc", 0o755), ("home", 0o755), ("root", 0o700), ("tmp", 0o1777)] {
        let mut header = header(tar::EntryType::Directory, mode, 0);
        tar.append_data(&mut header, name, io::empty())?;
    }
    append(&mut tar, "bin/busybox", 0o755, &program)?;
    for name in HARD_LINKED {
        let mut header = header(tar::EntryType::Link, 0o755, 0);
        tar.append_link(&mut header, format!("bin/{name}"), "bin/busybox")?;
    }
    for name in LINKED {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut header, format!("bin/{name}"), "busybox")?;
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n";
    append(&mut tar, "etc/passwd", 0o644, passwd.as_bytes())?;
    append(&mut tar, "etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n")?;
    tar.into_inner()
}

fn config(layers: &[&[u8]]) -> Vec<u8> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", hex(layer))).collect();
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": {"Env": ["PATH=/bin:/usr/bin:/sbin:/usr/sbin"], "Cmd": ["sh"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    config.to_string().into_bytes()
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", hex(bytes)), "size": bytes.len()})
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    // The same bytes, and so the same image id, on every run.
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn append<W: Write>(tar: &mut tar::Builder<W>, name: &str, mode: u32, data: &[u8]) -> io::Result<()> {
    let mut header = header(tar::EntryType::Regular, mode, data.len() as u64);
    tar.append_data(&mut header, name, data)
}

fn archive(path: &Path, files: &[(String, Vec<u8>)]) -> io::Result<PathBuf> {
    let mut tar = tar::Builder::new(File::create(path)?);
    for (name, bytes) in files {
        append(&mut tar, name, 0o644, bytes)?;
    }
    tar.into_inner()?.flush()?;
    Ok(path.to_owned())
}
