//! Debian's docker-registry on a loopback port of its own, with a folder of its own, over HTTP or TLS, open or with
//! a password. Images are put into its folder by path: no client is needed for that.
//!
//! Owns: the process, which ends with the value. Never: a port that somebody chose.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::{host, limits::SOON, network::Network};

/// How a registry is to be started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// It speaks TLS, with a certificate of an authority that nobody knows: see [`Registry::authority`].
    pub tls: bool,
    /// It wants this name and password.
    pub password: Option<(String, String)>,
}

/// One running registry.
#[derive(Debug)]
pub struct Registry {
    folder: TempDir,
    child: Child,
    host: String,
}

impl Registry {
    /// Starts one on the loopback device of a daemon's network. `None`: this host has none, the test is skipped.
    pub fn start(network: Network, options: &Options) -> Option<Self> {
        let Some(program) = host::find("docker-registry") else {
            host::skip("docker-registry", "no docker-registry here");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("tr.").tempdir_in("/tmp").expect("/tmp can be written");
        let config = folder.path().join("config.yml");
        put(&config, configuration(folder.path(), options).as_bytes());
        fs::create_dir_all(folder.path().join("data")).expect("the folder can be made");
        let mut command = Command::new(program);
        command.arg("serve").arg(&config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = network.inside(|| command.spawn()).expect("docker-registry starts");
        let log = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        let host = listening(log).expect("docker-registry says where it listens");
        Some(Self { folder, child, host })
    }

    /// `127.0.0.1:PORT`: the beginning of the names of its images.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The whole name of an image here.
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.host)
    }

    /// The certificate of the authority that vouches for it, where it speaks TLS.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Lets a daemon that reads its certificates in `folder` believe this registry.
    pub fn trust(&self, folder: &Path) {
        let folder = folder.join(&self.host);
        fs::create_dir_all(&folder).expect("the folder can be made");
        fs::copy(self.authority(), folder.join("ca.crt")).expect("the certificate is there");
    }

    /// Puts the image of an OCI layout (a folder with one entry in its index) under `path/name:tag`.
    ///
    /// # Errors
    /// The layout lacks something, or the disk fails.
    pub fn push_layout(&self, layout: &Path, image: &str) -> io::Result<()> {
        let (name, tag) = image.rsplit_once(':').ok_or_else(|| io::Error::other("the name has no tag"))?;
        let index: serde_json::Value = serde_json::from_slice(&fs::read(layout.join("index.json"))?)?;
        let entry = &index["manifests"][0]["digest"];
        let digest = entry.as_str().ok_or_else(|| io::Error::other("the index has no entry"))?;
        let place = self.push_manifest(layout, name, digest)?;
        for link in ["current/link".to_owned(), format!("index/{}/link", digest.replace(':', "/"))] {
            write(&place.join("_manifests/tags").join(tag).join(link), digest.as_bytes())?;
        }
        Ok(())
    }

    /// Puts bytes under a digest that may be another's: a registry that lies.
    ///
    /// # Errors
    /// The disk fails.
    pub fn forge(&self, digest: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.blob(digest);
        if path.exists() {
            fs::remove_file(&path)?;
        }
        write(&path, bytes)
    }

    /// Where it keeps a blob.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.storage().join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// Bytes of its folder's blobs, by name: what a test compares.
    fn storage(&self) -> PathBuf {
        self.folder.path().join("data/docker/registry/v2")
    }

    fn push_manifest(&self, layout: &Path, name: &str, digest: &str) -> io::Result<PathBuf> {
        let place = self.storage().join("repositories").join(name);
        self.push_blob(layout, digest)?;
        let link = place.join("_manifests/revisions").join(digest.replace(':', "/")).join("link");
        write(&link, digest.as_bytes())?;
        let blob = fs::read(layout.join("blobs").join(digest.replace(':', "/")))?;
        let manifest: serde_json::Value = serde_json::from_slice(&blob)?;
        let text = |value: &serde_json::Value| value["digest"].as_str().unwrap_or_default().to_owned();
        for entry in manifest["manifests"].as_array().into_iter().flatten() {
            // An index may name images that the layout was made without.
            if layout.join("blobs").join(text(entry).replace(':', "/")).is_file() {
                self.push_manifest(layout, name, &text(entry))?;
            }
        }
        let layers = manifest["layers"].as_array().into_iter().flatten();
        for blob in layers.chain(manifest.get("config")).map(text) {
            self.push_blob(layout, &blob)?;
            let link = place.join("_layers").join(blob.replace(':', "/")).join("link");
            write(&link, blob.as_bytes())?;
        }
        Ok(place)
    }

    fn push_blob(&self, layout: &Path, digest: &str) -> io::Result<()> {
        let to = self.blob(digest);
        if to.exists() {
            return Ok(());
        }
        fs::create_dir_all(to.parent().unwrap_or(&to))?;
        fs::copy(layout.join("blobs").join(digest.replace(':', "/")), to).map(drop)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have died already, which the test has seen.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// `sha256:` and the digest of these bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Reads the log until the line that tells the port; the rest is read and thrown away.
fn listening(log: impl BufRead + Send + 'static) -> Option<String> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("listening on ") {
                let end = rest.find([',', '"', ' ']).unwrap_or(rest.len());
                // The test may have given up.
                tell.send(rest[..end].to_owned()).ok();
            }
        }
    });
    told.recv_timeout(SOON).ok()
}

fn configuration(folder: &Path, options: &Options) -> String {
    let folder_text = folder.display();
    let mut text = format!(
        "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {folder_text}/data\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:0\n  secret: of-a-test\n"
    );
    if options.tls {
        certificate(folder);
        text += &format!("  tls:\n    certificate: {folder_text}/own.crt\n    key: {folder_text}/own.key\n");
    }
    if let Some((name, password)) = &options.password {
        let made = Command::new("htpasswd").args(["-Bbn", name, password]).output();
        put(&folder.join("htpasswd"), &made.expect("htpasswd can be run (apache2-utils)").stdout);
        text += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {folder_text}/htpasswd\n");
    }
    text
}

/// An authority, and a certificate of it for 127.0.0.1.
pub fn certificate(folder: &Path) {
    let openssl = |args: &str| {
        let mut command = Command::new("openssl");
        command.current_dir(folder).args(args.split(' '));
        let done = command.output().expect("openssl can be run");
        assert!(done.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&done.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.crt -days 2 -subj /CN=taffrail-test-authority"));
    openssl(&format!("req {key} -keyout own.key -out own.csr -subj /CN=localhost"));
    put(&folder.join("own.ext"), b"subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n");
    openssl(
        "x509 -req -in own.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile own.ext -out own.crt",
    );
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    put(path, bytes);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("the test's folder can be written");
}
