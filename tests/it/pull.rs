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
    daemon::{self, Daemon},
    eventually::eventually,
    host,
    layer::Layer,
    layout::{Layout, Packing},
    limits::SOON,
    memory::Memory,
    registry::{Options, Registry},
};
use tonic::Code;

/// A layer of some files.
fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut layer = Layer::default();
    files.iter().for_each(|(name, content)| layer.file(name, 0o644, content).unwrap());
    layer.finish().unwrap()
}

/// The demo program in three layers, each packed in another way; and the program still runs.
fn demo_layout(daemon: &Daemon, name: &str) -> Layout {
    demo_packed(daemon, name, [Packing::Gzip, Packing::Zstd, Packing::Plain])
}

fn demo_packed(daemon: &Daemon, name: &str, packing: [Packing; 3]) -> Layout {
    let layout = Layout::new(&daemon.path(name)).unwrap();
    let mut program = Layer::default();
    program.file("demo", 0o755, &fs::read(host::demo()).unwrap()).unwrap();
    let (bottom, middle, top) =
        (program.finish().unwrap(), layer(&[("etc/name", name.as_bytes())]), layer(&[("etc/top", b"x")]));
    let layers = [(bottom.as_slice(), packing[0]), (&middle, packing[1]), (&top, packing[2])];
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

/// Folders of layers in the store.
fn layers(daemon: &Daemon) -> usize {
    fs::read_dir(daemon.path("root/snapshots/layers")).unwrap().count()
}

#[test]
fn every_format_that_skopeo_writes() {
    let Some(daemon) = Daemon::start() else { return };
    let Some(registry) = Registry::start(daemon.network(), &Options::default()) else { return };
    let Some(skopeo) = host::find("skopeo") else { return host::skip("skopeo", "no skopeo here") };
    // skopeo writes no zstd into an image of the docker form, and does not unpack what it finds so.
    let layout = demo_packed(&daemon, "five", [Packing::Gzip; 3]);
    let source = format!("oci:{}", layout.path().display());
    for (name, options) in [
        ("oci-gzip", vec!["--format", "oci", "--dest-compress-format", "gzip"]),
        ("docker", vec!["--format", "v2s2"]),
        ("oci-zstd", vec!["--format", "oci", "--dest-compress-format", "zstd"]),
        ("oci-zstd-chunked", vec!["--format", "oci", "--dest-compress-format", "zstd:chunked"]),
        ("preserved", vec!["--preserve-digests"]),
    ] {
        let to = registry.name(&format!("skopeo/{name}:1"));
        let mut words =
            vec![skopeo.to_str().unwrap(), "--insecure-policy", "copy", "--dest-tls-verify=false"];
        words.extend(options);
        let target = format!("docker://{to}");
        words.extend([source.as_str(), target.as_str()]);
        daemon.network().run(&words);
        let id = pull(&daemon, &to, None).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(status(&daemon, &to).unwrap().repo_tags, vec![to.clone()], "{name}");
        assert!(id.starts_with("sha256:"), "{name}");
        let pod = daemon.run_pod(name);
        let container = daemon.create(&pod, &ask::container("c", &to, &["hello"]));
        daemon.client().start_container(ask::start(&container)).unwrap();
        assert_eq!(daemon.exited(&container).exit_code, 0, "{name}");
        daemon.remove_pods();
        remove(&daemon, &to);
    }
}

#[test]
fn an_index_gives_the_image_for_this_machine() {
    let Some(daemon) = Daemon::start() else { return };
    let Some(registry) = Registry::start(daemon.network(), &Options::default()) else { return };
    let layout = Layout::new(&daemon.path("six")).unwrap();
    let here = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let entry = |architecture: &str, variant: Option<&str>, content: &[u8]| {
        let layer = layer(&[("is", content)]);
        let mut entry = layout.image(&[(&layer, Packing::Gzip)], &json!({})).unwrap();
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        if let Some(variant) = variant {
            entry["platform"]["variant"] = json!(variant);
        }
        entry
    };
    let entries =
        [entry("s390x", None, b"far"), entry(here, Some("v9"), b"too new"), entry(here, None, b"here")];
    let inner = layout.index(&entries).unwrap();
    layout.enter(&inner).unwrap();
    registry.push_layout(layout.path(), "many/image:1").unwrap();
    let name = registry.name("many/image:1");
    pull(&daemon, &name, None).unwrap();
    let image = status(&daemon, &name).unwrap();
    let digest = inner["digest"].as_str().unwrap();
    assert_eq!(image.repo_digests, vec![registry.name(&format!("many/image@{digest}"))], "the index's own");
    let found = fs::read_dir(daemon.path("root/snapshots/layers"))
        .unwrap()
        .any(|layer| fs::read(layer.unwrap().path().join("is")).is_ok_and(|content| content == b"here"));
    assert!(found);
    remove(&daemon, &name);
    let layout = Layout::new(&daemon.path("seven")).unwrap();
    layout.enter(&layout.index(&[entry("s390x", None, b"far")]).unwrap()).unwrap();
    // The entry's blobs are in the other layout; nobody asks for them.
    registry.push_layout(layout.path(), "many/far:1").unwrap();
    let error = pull(&daemon, &registry.name("many/far:1"), None).unwrap_err();
    assert!(error.message().contains("holds no image for linux/"), "{error}");
}

#[test]
fn an_image_that_is_in_use_goes_and_its_layers_go_with_the_container() {
    let Some(daemon) = Daemon::start() else { return };
    let Some(registry) = Registry::start(daemon.network(), &Options::default()) else { return };
    registry.push_layout(demo_layout(&daemon, "eight").path(), "e/demo:1").unwrap();
    let name = registry.name("e/demo:1");
    let before = layers(&daemon);
    let id = pull(&daemon, &name, None).unwrap();
    assert_eq!(layers(&daemon), before + 3);
    let pod = daemon.run_pod("p");
    let container = daemon.create(&pod, &ask::container("c", &name, &["sleep", "600"]));
    daemon.client().start_container(ask::start(&container)).unwrap();
    let removals: Vec<_> = (0..5)
        .map(|_| {
            let (client, id) = (tests::client::CriClient::new(&daemon.socket()), id.clone());
            std::thread::spawn(move || client.remove_image(v1::RemoveImageRequest { image: ask::image(&id) }))
        })
        .collect();
    for removal in removals {
        removal.join().unwrap().unwrap();
    }
    assert_eq!(status(&daemon, &name), None);
    assert_eq!(layers(&daemon), before + 3, "the container stands on them");
    let exec = daemon.client().exec_sync(ask::exec(&container, &["/demo", "true"], 10)).unwrap();
    assert_eq!(exec.exit_code, 0);
    assert!(!daemon.status(&container).image_ref.is_empty());
    daemon.remove_pods();
    eventually(SOON, "the layers' end", || (layers(&daemon) == before).then_some(()));
}

#[test]
fn the_store_says_what_it_holds() {
    let Some(daemon) = Daemon::start() else { return };
    let Some(registry) = Registry::start(daemon.network(), &Options::default()) else { return };
    let usage = || {
        let info = daemon.client().image_fs_info(v1::ImageFsInfoRequest::default()).unwrap();
        let (image, container) = (info.image_filesystems[0].clone(), info.container_filesystems[0].clone());
        assert_eq!(image.fs_id, container.fs_id);
        assert!(Path::new(&image.fs_id.unwrap().mountpoint).is_dir() && image.timestamp > 0);
        (image.used_bytes.unwrap().value, image.inodes_used.unwrap().value)
    };
    let before =
        eventually(SOON, "the demo image's files", || Some(usage()).filter(|(_, inodes)| *inodes >= 2));
    let layout = Layout::new(&daemon.path("nine")).unwrap();
    let layer = layer(&[("one", &[7; 1_000_000]), ("two", b"2"), ("deep/three", b"3")]);
    layout.enter(&layout.image(&[(&layer, Packing::Gzip)], &json!({})).unwrap()).unwrap();
    registry.push_layout(layout.path(), "f/image:1").unwrap();
    let name = registry.name("f/image:1");
    pull(&daemon, &name, None).unwrap();
    let after = eventually(SOON, "the new layer's files", || Some(usage()).filter(|after| *after != before));
    assert_eq!(after.1 - before.1, 5, "its root, a folder and three files");
    assert!(after.0 - before.0 >= 1_000_000, "{before:?} {after:?}");
    let list = daemon
        .client()
        .list_images(v1::ListImagesRequest { filter: Some(v1::ImageFilter { image: ask::image(&name) }) });
    assert_eq!(list.unwrap().images.len(), 1);
    let none = daemon.client().list_images(v1::ListImagesRequest {
        filter: Some(v1::ImageFilter { image: ask::image("no/such:1") }),
    });
    assert!(none.unwrap().images.is_empty());
    remove(&daemon, &name);
    eventually(SOON, "its end", || (usage() == before).then_some(()));
}

#[test]
fn a_full_disk_fails_one_pull_and_nothing_else() {
    let memory = Memory::mount(64 << 20).unwrap();
    let below = Some(memory.path().to_owned());
    let Some(daemon) = Daemon::start_with(daemon::Options { below, ..daemon::Options::default() }) else {
        return;
    };
    let Some(registry) = Registry::start(daemon.network(), &Options::default()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (big, small) = (vec![0_u8; 100 << 20], b"small".to_vec());
    for (name, content) in [("big", &big), ("small", &small)] {
        let layout = Layout::new(&folder.path().join(name)).unwrap();
        let layer = layer(&[("file", content.as_slice())]);
        layout.enter(&layout.image(&[(&layer, Packing::Gzip)], &json!({})).unwrap()).unwrap();
        registry.push_layout(layout.path(), &format!("g/{name}:1")).unwrap();
    }
    let before = layers(&daemon);
    let error = pull(&daemon, &registry.name("g/big:1"), None).unwrap_err();
    assert!(error.message().contains("No space left") && error.message().contains("sha256:"), "{error}");
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    eventually(SOON, "nothing half-made", || (layers(&daemon) == before).then_some(()));
    let name = registry.name("g/small:1");
    pull(&daemon, &name, None).unwrap();
    remove(&daemon, &name);
}
