//! Makes the good image files of the tests: `docker save` tars of one layer, from files of this host. Hostile
//! ones are made elsewhere.
//!
//! Owns: the form of the tar. Never: an image of more than one layer.

use std::{fs, io, path::Path};

use sha2::{Digest, Sha256};

use crate::layer::Layer;

/// Name of the image that holds the demo program.
pub const DEMO: &str = "taffrail.test/demo:1";
/// Name of the image made from Debian's busybox-static.
pub const BUSYBOX: &str = "taffrail.test/busybox:1";

/// Applets of busybox that tests call by name.
const APPLETS: [&str; 30] = [
    "sh", "ls", "cat", "echo", "sleep", "true", "false", "id", "ps", "top", "env", "grep", "touch", "mount",
    "umount", "dd", "head", "tr", "hostname", "chroot", "mkdir", "stat", "ping", "readlink", "wc", "rm",
    "httpd", "wget", "ip", "nc",
];

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes an image of one layer. `config` is the OCI configuration's `config` object.
pub fn write(file: &Path, name: &str, layer: &[u8], config: &serde_json::Value) -> io::Result<()> {
    let config = serde_json::json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex(layer))] },
    })
    .to_string();
    let config_name = format!("{}.json", hex(config.as_bytes()));
    let manifest =
        serde_json::json!([{ "Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"] }]);
    let mut tar = Layer::default();
    tar.file(&config_name, 0o644, config.as_bytes())?;
    tar.file("layer.tar", 0o644, layer)?;
    tar.file("manifest.json", 0o644, manifest.to_string().as_bytes())?;
    put(file, &tar.finish()?)
}

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
fn put(file: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(file, bytes)
}

/// The image [`DEMO`]: `/demo` as its entrypoint.
pub fn write_demo(file: &Path) -> io::Result<()> {
    let config = serde_json::json!({ "Entrypoint": ["/demo"], "Cmd": ["hello"], "Env": ["PATH=/"] });
    write(file, DEMO, &demo_layer()?, &config)
}

/// An image of another name with the same program and this entrypoint.
pub fn write_program(file: &Path, name: &str, entrypoint: &[&str]) -> io::Result<()> {
    write(file, name, &demo_layer()?, &serde_json::json!({ "Entrypoint": entrypoint, "Env": ["PATH=/"] }))
}

fn demo_layer() -> io::Result<Vec<u8>> {
    let mut layer = Layer::default();
    layer.file("demo", 0o755, &fs::read(crate::host::demo())?)?;
    layer.folder("tmp", 0o1777)?;
    layer.finish()
}

/// Something more in an image of busybox, or in the place of what it has there.
#[derive(Debug, Clone, Copy)]
pub enum Extra<'a> {
    /// A file with this content.
    File(&'a str, &'a [u8]),
    /// A program that runs as its owner, root.
    Setuid(&'a str, &'a [u8]),
    /// A symbolic link with this text.
    Link(&'a str, &'a str),
    /// A named pipe.
    Pipe(&'a str),
    /// A folder, with this mode.
    Folder(&'a str, u32),
}

impl Extra<'_> {
    fn path(&self) -> &str {
        match self {
            Self::File(path, _)
            | Self::Setuid(path, _)
            | Self::Link(path, _)
            | Self::Pipe(path)
            | Self::Folder(path, _) => path,
        }
    }

    fn add(&self, layer: &mut Layer) -> io::Result<()> {
        match *self {
            Self::File(path, content) => layer.file(path, 0o644, content),
            Self::Setuid(path, content) => layer.file(path, 0o4755, content),
            Self::Link(path, text) => layer.symlink(path, text),
            Self::Pipe(path) => layer.pipe(path),
            Self::Folder(path, mode) => layer.folder(path, mode),
        }
    }
}

/// The image [`BUSYBOX`] from the host's static busybox; `None`: the host has none.
pub fn write_busybox(file: &Path) -> Option<io::Result<()>> {
    write_busybox_with(file, BUSYBOX, &[], &serde_json::json!({}))
}

/// The same under another name with more in it, and more in its configuration.
pub fn write_busybox_with(
    file: &Path,
    name: &str,
    extra: &[Extra<'_>],
    config: &serde_json::Value,
) -> Option<io::Result<()>> {
    let busybox = crate::host::find("busybox")?;
    let made = || {
        let mut layer = Layer::default();
        for folder in ["bin", "etc", "tmp"] {
            layer.folder(folder, if folder == "tmp" { 0o1777 } else { 0o755 })?;
        }
        layer.file("bin/busybox", 0o755, &fs::read(&busybox)?)?;
        for applet in APPLETS {
            layer.link(&format!("bin/{applet}"), "bin/busybox")?;
        }
        if !extra.iter().any(|extra| extra.path() == "etc/passwd") {
            layer.file("etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/sh\n")?;
        }
        for extra in extra {
            extra.add(&mut layer)?;
        }
        let mut all = serde_json::json!({ "Cmd": ["/bin/sh"], "Env": ["PATH=/bin"] });
        for (key, value) in config.as_object().into_iter().flatten() {
            all[key] = value.clone();
        }
        write(file, name, &layer.finish()?, &all)
    };
    Some(made())
}
