//! Images from registries: Debian's docker-registry over HTTP and TLS, open and with a password, through mirrors;
//! what crictl and our own command line see.
//!
//! Registries that misbehave by script are in `hostile_registries.rs`.

use std::{fs, path::Path};

use cri_api::v1;
use serde_json::json;
use tests::{
    ask,
    crictl::Crictl,
    daemon::Daemon,
    host,
    layout::{Layout, Packing},
    registry::{Options, Registry},
};
use tonic::Code;

/// A layer of some files.
fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

/// The demo program in three layers, each packed in another way; and the program still runs.
fn demo_layout(daemon: &Daemon, name: &str) -> Layout {
    let layout = Layout::new(&daemon.path(name)).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let program = fs::read(host::demo()).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(program.len() as u64);
    tar.append_data(&mut header, "demo", program.as_slice()).unwrap();
    let (bottom, middle, top) =
        (tar.into_inner().unwrap(), layer(&[("etc/name", name.as_bytes())]), layer(&[("etc/top", b"x")]));
    let layers = [(bottom.as_slice(), Packing::Gzip), (&middle, Packing::Zstd), (&top, Packing::Plain)];
    let config = json!({ "Entrypoint": ["/demo"], "Cmd": ["hello"], "Env": ["PATH=/"], "User": "1000:5" });
    let image = layout.image(&layers, &config).unwrap();
    layout.enter(&image).unwrap();
    layout
}

fn pull(daemon: &Daemon, name: &str, auth: Option<v1::AuthConfig>) -> Result<String, tonic::Status> {
    let request = v1::PullImageRequest { image: ask::image(name), auth, sandbox_config: None };
    daemon.client().pull_image(request).map(|answer| answer.image_ref)
}

fn remove(daemon: &Daemon, name: &str) {
    daemon.client().remove_image(v1::RemoveImageRequest { image: ask::image(name) }).unwrap();
}

fn status(daemon: &Daemon, name: &str) -> Option<v1::Image> {
    let request = v1::ImageStatusRequest { image: ask::image(name), verbose: false };
    daemon.client().image_status(request).unwrap().image
}

#[test]
fn crictl_pulls_from_a_registry_and_the_image_runs() {
    let Some(daemon) = Daemon::start() else { return };
    let Some(registry) = Registry::start(daemon.network(), &Options::default()) else { return };
    let Some(crictl) = Crictl::new(&daemon) else { return };
    registry.push_layout(demo_layout(&daemon, "one").path(), "a/demo:1").unwrap();
    let name = registry.name("a/demo:1");
    let said = crictl.run(&["pull", &name]);
    let image = status(&daemon, &name).unwrap();
    assert!(said.contains(&image.id), "{said}");
    assert_eq!(image.repo_tags, vec![name.clone()]);
    assert_eq!(image.uid.map(|uid| uid.value), Some(1000));
    let digest = image.repo_digests[0].clone();
    assert!(digest.starts_with(&registry.name("a/demo@sha256:")), "{digest}");
    for other in [&digest, &image.id, &image.id[..20]] {
        assert_eq!(status(&daemon, other).as_ref(), Some(&image), "{other}");
    }
    let pod = daemon.run_pod("p");
    let config = ask::container("c", &name, &["hello"]);
    let id = daemon.create(&pod, &config);
    daemon.client().start_container(ask::start(&id)).unwrap();
    assert_eq!(daemon.exited(&id).exit_code, 0);
    daemon.remove_pods();
    remove(&daemon, &name);
    // By digest only: no tag, and the digest is the one that was asked.
    assert_eq!(pull(&daemon, &digest, None).unwrap(), image.id);
    let again = status(&daemon, &digest).unwrap();
    assert_eq!((again.repo_tags, again.repo_digests), (Vec::new(), vec![digest.clone()]));
    remove(&daemon, &digest);
    assert_eq!(pull(&daemon, &registry.name("a/none:1"), None).unwrap_err().code(), Code::NotFound);
}

#[test]
fn a_registry_with_tls_and_a_password() {
    let options = Options { tls: true, password: Some(("user".to_owned(), "s3cr3t-x".to_owned())) };
    let Some(daemon) = Daemon::start() else { return };
    let Some(registry) = Registry::start(daemon.network(), &options) else { return };
    registry.push_layout(demo_layout(&daemon, "two").path(), "b/demo:1").unwrap();
    let name = registry.name("b/demo:1");
    let auth = |password: &str| {
        let (username, password) = ("user".to_owned(), password.to_owned());
        Some(v1::AuthConfig { username, password, ..v1::AuthConfig::default() })
    };
    let folder = daemon.path("certs.d");
    fs::create_dir_all(folder.join(registry.host())).unwrap();
    let unknown = pull(&daemon, &name, auth("s3cr3t-x")).unwrap_err();
    assert!(unknown.message().contains("certificate"), "{unknown}");
    assert_eq!(unknown.code(), Code::Unknown);
    assert!(unknown.message().starts_with("RegistryUnavailable: "), "{unknown}");
    registry.trust(&folder);
    for wrong in [None, auth("wr0ng-y")] {
        let error = pull(&daemon, &name, wrong).unwrap_err();
        assert_eq!(error.code(), Code::Unauthenticated, "{error}");
        assert!(!error.message().contains("wr0ng-y"), "{error}");
    }
    let id = pull(&daemon, &name, auth("s3cr3t-x")).unwrap();
    assert_eq!(status(&daemon, &name).unwrap().id, id);
    // An equal pull by somebody who may not, although the image is there.
    assert_eq!(pull(&daemon, &name, None).unwrap_err().code(), Code::Unauthenticated);
    let log = daemon.log();
    assert!(!log.contains("s3cr3t-x") && !log.contains("wr0ng-y"), "no secret in the log");
    remove(&daemon, &name);
}

#[test]
fn nobody_listens() {
    let Some(daemon) = Daemon::start() else { return };
    let error = pull(&daemon, "127.0.0.1:1/a/b:1", None).unwrap_err();
    assert_eq!(error.code(), Code::Unknown);
    assert!(error.message().starts_with("RegistryUnavailable: "), "{error}");
    assert!(error.message().contains("onnection refused"), "{error}");
}

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
fn put(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
}

#[test]
fn a_mirror_that_is_down_one_that_lies_and_one_that_is_blocked() {
    let Some(daemon) = Daemon::start() else { return };
    let Some(registry) = Registry::start(daemon.network(), &Options::default()) else { return };
    let Some(liar) = Registry::start(daemon.network(), &Options::default()) else { return };
    let layout = demo_layout(&daemon, "three");
    registry.push_layout(layout.path(), "c/demo:1").unwrap();
    liar.push_layout(layout.path(), "mirrored/c/demo:1").unwrap();
    let rules = format!(
        "[[registry]]\nprefix = 'images.test'\nlocation = '{}'\n\
         [[registry.mirror]]\nlocation = '127.0.0.1:1'\n\
         [[registry.mirror]]\nlocation = '{}/mirrored'\n\
         [[registry]]\nprefix = 'images.test/secret'\nblocked = true\n",
        registry.host(),
        liar.host()
    );
    put(&daemon.path("registries.conf"), &rules);
    // Every layer of the liar is another one.
    for entry in fs::read_dir(layout.path().join("blobs/sha256")).unwrap() {
        let hex = entry.unwrap().file_name().to_string_lossy().into_owned();
        let bytes = fs::read(layout.path().join("blobs/sha256").join(&hex)).unwrap();
        if bytes.first() != Some(&b'{') {
            let mut forged = bytes.clone();
            let middle = forged.len() / 2;
            forged[middle] ^= 1;
            liar.forge(&hex, &forged).unwrap();
        }
    }
    let id = pull(&daemon, "images.test/c/demo:1", None).unwrap();
    let image = status(&daemon, &id).unwrap();
    assert_eq!(image.repo_tags, ["images.test/c/demo:1"], "the name that was asked, not the mirror's");
    assert!(daemon.log().contains("a mirror does not give a layer"), "{}", daemon.log_tail());
    let blocked = pull(&daemon, "images.test/secret/x:1", None).unwrap_err();
    assert_eq!(blocked.code(), Code::PermissionDenied);
    assert!(blocked.message().contains("registries.conf"), "{blocked}");
    remove(&daemon, &id);
}

#[test]
fn the_command_line_pulls() {
    let options = Options { password: Some(("user".to_owned(), "pass:word".to_owned())), tls: false };
    let Some(daemon) = Daemon::start() else { return };
    let Some(registry) = Registry::start(daemon.network(), &options) else { return };
    registry.push_layout(demo_layout(&daemon, "four").path(), "d/demo:1").unwrap();
    let name = registry.name("d/demo:1");
    let file = daemon.path("credentials");
    put(&file, "user:pass:word\n");
    let refused = daemon.cli(&["image", "pull", &name]);
    assert_eq!(refused.status.code(), Some(1));
    let done = daemon.cli(&["image", "pull", &name, "--creds-file", &file.to_string_lossy(), "--json"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let found: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(found[0]["repo_tags"], json!([name]));
    remove(&daemon, &name);
}
