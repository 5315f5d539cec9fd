//! The images that critest wants, made from Debian's parts and served by a registry under the paths of the real ones,
//! and the configuration by which a runtime takes that registry for theirs.
//!
//! Owns: the names. Never: an image that has the digest of a real one: nothing else can.

use std::{fs, io, path::Path, process::Command};

use cri_api::v1;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    ask,
    daemon::{Daemon, Options},
    host, image_file,
    layer::Layer,
    layout::{Layout, Packing},
    registry::{self, Registry},
};

/// The registries whose names critest uses.
pub const HOSTS: [&str; 3] = ["registry.k8s.io", "k8s.gcr.io", "gcr.io"];

/// The user database of all of them.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\n\
    nobody:x:65534:65534:nobody:/home:/bin/false\n";
const GROUP: &str = "root:x:0:\nwww-data:x:33:\nusers:x:100:\nnobody:x:65534:\n";

/// What they are made of; `None`: it was not made here, the test is skipped.
#[derive(Debug)]
pub struct Parts {
    busybox: Vec<u8>,
    applets: Vec<String>,
    nginx: Vec<u8>,
    nnp: Vec<u8>,
}

impl Parts {
    /// From the folder of `.ci/images`.
    pub fn find() -> Option<Self> {
        let folder = host::tools().join("images");
        let program = folder.join("busybox");
        let read = |name: &str| fs::read(folder.join(name)).ok();
        let found = read("busybox").zip(read("nginx.tar")).zip(read("nnp"));
        let Some(((busybox, nginx), nnp)) = found else {
            host::skip("critest", "the images' parts are not here: .ci/images makes them on Debian");
            return None;
        };
        let list = Command::new(program).arg("--list").output().expect("busybox can be run");
        let applets = String::from_utf8_lossy(&list.stdout).lines().map(str::to_owned).collect();
        Some(Self { busybox, applets, nginx, nnp })
    }

    /// Busybox with every applet as a further name in `/bin`, and these user databases.
    fn busybox(&self, passwd: &str, group: &str) -> io::Result<Vec<u8>> {
        let mut layer = Layer::default();
        for (folder, mode) in [
            ("bin", 0o755),
            ("etc", 0o755),
            ("home", 0o755),
            ("root", 0o700),
            ("tmp", 0o1777),
            ("var/www", 0o755),
        ] {
            layer.folder(folder, mode)?;
        }
        layer.file("bin/busybox", 0o755, &self.busybox)?;
        for applet in self.applets.iter().filter(|applet| *applet != "busybox") {
            layer.link(&format!("bin/{applet}"), "bin/busybox")?;
        }
        layer.file("etc/passwd", 0o644, passwd.as_bytes())?;
        layer.file("etc/group", 0o644, group.as_bytes())?;
        layer.finish()
    }

    /// Puts them all into a registry. `folder` is for what is made on the way.
    ///
    /// # Errors
    /// The disk fails.
    pub fn push(&self, registry: &Registry, folder: &Path) -> io::Result<()> {
        let base = self.busybox(PASSWD, GROUP)?;
        let path = json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]);
        let mut number = 0;
        let mut put = |names: &[&str], layers: &[&[u8]], config: &Value| -> io::Result<()> {
            number += 1;
            let mut config = config.clone();
            config["Env"] = path.clone();
            let layout = Layout::new(&folder.join(format!("image-{number}")))?;
            let layers: Vec<_> = layers.iter().map(|layer| (*layer, Packing::Gzip)).collect();
            layout.enter(&layout.image(&layers, &config)?)?;
            names.iter().try_for_each(|name| registry.push_layout(layout.path(), name))
        };
        let shell = json!({ "Cmd": ["sh"] });
        put(&["e2e-test-images/busybox:1.29-2"], &[&base], &shell)?;
        let web = json!({ "Cmd": ["nginx", "-g", "daemon off;"], "ExposedPorts": { "80/tcp": {} } });
        put(&["e2e-test-images/nginx:1.14-2"], &[&base, &self.nginx], &web)?;
        // The suite looks for its name in its log.
        let script = "echo httpd starts; exec nginx -g 'daemon off;'";
        let httpd = json!({ "Cmd": ["sh", "-c", script], "ExposedPorts": { "80/tcp": {} } });
        put(&["e2e-test-images/httpd:2.4.39-4"], &[&base, &self.nginx], &httpd)?;
        let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let script = "sed -i 's/listen 80/listen 12003/' /etc/nginx/nginx.conf; exec nginx -g 'daemon off;'";
        let name = format!("k8s-staging-cri-tools/hostnet-nginx-{arch}:latest");
        put(&[&name], &[&base, &self.nginx], &json!({ "Cmd": ["sh", "-c", script] }))?;
        let mut nnp = Layer::default();
        nnp.file("nnp", 0o4755, &self.nnp)?;
        put(
            &["e2e-test-images/nonewprivs:1.3"],
            &[&base, &nnp.finish()?],
            &json!({ "Entrypoint": ["/nnp"] }),
        )?;
        put(&["pause:3.9"], &[&base], &json!({ "Entrypoint": ["/bin/sleep", "3600"] }))?;
        for name in ["test-image-1", "test-image-2", "test-image-3", "test-image-latest"] {
            let mut own = Layer::default();
            own.file("name", 0o644, name.as_bytes())?;
            put(&[&format!("k8s-staging-cri-tools/{name}:latest")], &[&base, &own.finish()?], &shell)?;
        }
        let tags = ["1", "2", "3"].map(|tag| format!("k8s-staging-cri-tools/test-image-tags:{tag}"));
        let sleeps = |label: &str| json!({ "Cmd": ["sleep", "3600"], "Labels": { "of": label } });
        put(&tags.each_ref().map(String::as_str), &[&base], &sleeps("tags"))?;
        let tag = ["test", "all"].map(|tag| format!("k8s-staging-cri-tools/test-image-tag:{tag}"));
        put(&tag.each_ref().map(String::as_str), &[&base], &sleeps("tag"))?;
        for (name, user) in [
            ("uid", "1002"),
            ("username", "www-data"),
            ("uid-group", "1003:1004"),
            ("username-group", "www-data:1004"),
        ] {
            let name = format!("k8s-staging-cri-tools/test-image-user-{name}:latest");
            put(&[&name], &[&base], &json!({ "Cmd": ["sh"], "User": user }))?;
        }
        let passwd = format!("{PASSWD}default-user:x:1000:1000:default:/home:/bin/sh\n");
        let group = format!("{GROUP}default-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n");
        let own = self.busybox(&passwd, &group)?;
        let user = json!({ "Cmd": ["sh"], "User": "1000" });
        put(&["k8s-staging-cri-tools/test-image-predefined-group:latest"], &[&own], &user)
    }
}

/// A daemon that takes a registry with all of the images for those of [`HOSTS`].
#[derive(Debug)]
pub struct Node {
    // Ends before the daemon whose network it is in.
    _registry: Registry,
    /// The daemon.
    pub daemon: Daemon,
    _folder: TempDir,
}

impl Node {
    /// Starts both. `None`: this host cannot; the test is skipped.
    pub fn start(parts: &Parts) -> Option<Self> {
        let folder = tempfile::tempdir_in("/tmp").expect("/tmp can be written");
        let conf = folder.path().join("registries.conf");
        put(&conf, "");
        let set = vec![format!("registries_conf={}", conf.display())];
        let daemon = Daemon::start_with(Options { set, ..Options::default() })?;
        let registry = Registry::start(daemon.network(), &registry::Options::default())?;
        parts.push(&registry, folder.path()).expect("the images can be made");
        // Read at each pull.
        put(&conf, &registries_conf(&registry));
        Some(Self { _registry: registry, daemon, _folder: folder })
    }

    /// Removes what the suite pulled and left; the daemon's own image stays.
    pub fn remove_images(&self) {
        let client = self.daemon.client();
        let list = client.list_images(v1::ListImagesRequest::default()).expect("the images can be listed");
        for image in list.images {
            if !image.repo_tags.iter().any(|tag| tag == image_file::DEMO) {
                let request = v1::RemoveImageRequest { image: ask::image(&image.id) };
                client.remove_image(request).expect("an image can be removed");
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
fn put(path: &Path, text: &str) {
    fs::write(path, text).expect("the test's folder can be written");
}

/// A `registries.conf` by which all of [`HOSTS`] are this registry.
fn registries_conf(registry: &Registry) -> String {
    let one = |host: &&str| {
        format!(
            "[[registry]]\nprefix = \"{host}\"\nlocation = \"{host}\"\n\
             [[registry.mirror]]\nlocation = \"{}\"\ninsecure = true\n",
            registry.host()
        )
    };
    HOSTS.iter().map(one).collect()
}
