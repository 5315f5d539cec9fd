//! Every lawful form of an image file.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    sync::Mutex,
};

use serde_json::json;

use super::{
    Place,
    build::{self, Layout, Tar, gzip, write, zstd},
    words,
};
use crate::image::Digest;

fn small() -> Vec<u8> {
    Tar::default().folder("etc").file("etc/motd", b"hello").bytes()
}

#[test]
fn a_layout_in_a_tar_and_in_a_folder_gives_the_same_image() {
    let mut layout = Layout::default();
    let id = layout.image("docker.io/library/busybox:latest", &[small()]);
    let place = Place::new();
    let source = layout.write_tar(place.folder.path());
    let seen = Mutex::new(Vec::new());
    let first = place.images.import(&source, &|p| seen.lock().unwrap().push(p)).unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].id, id.as_str());
    assert_eq!(first[0].repo_tags, ["docker.io/library/busybox:latest"]);
    assert_eq!(first[0].repo_digests.len(), 1);
    assert!(first[0].repo_digests[0].starts_with("docker.io/library/busybox@sha256:"));
    assert!(first[0].size > 5);
    assert_eq!(fs::read(place.layer(&first[0], 0).join("etc/motd")).unwrap(), b"hello");
    let last = seen.lock().unwrap().last().cloned().unwrap();
    assert_eq!((last.done_bytes, last.total_bytes), (small().len() as u64, small().len() as u64));

    let again = place.import(&layout.write_folder(place.folder.path())).unwrap();
    assert_eq!(again[0].id, first[0].id);
    assert_eq!(place.images.list().len(), 1);
    assert_eq!(place.snapshots.chains().len(), 1);
}

#[test]
fn gzip_and_zstd_layers_and_archives_are_read() {
    let plain = [small(), Tar::default().file("a", b"1").bytes(), Tar::default().file("b", b"2").bytes()];
    let mut two_members = gzip(&plain[1][..512]);
    two_members.extend(gzip(&plain[1][512..]));
    let layers = [
        (gzip(&plain[0]), plain[0].clone()),
        (two_members, plain[1].clone()),
        (zstd(&plain[2]), plain[2].clone()),
    ];
    let mut layout = Layout::default();
    let (entry, id) = layout.manifest(&layers);
    layout.entry(entry);
    for packed in [layout.tar(), gzip(&layout.tar()), zstd(&layout.tar())] {
        let place = Place::new();
        let source = write(place.folder.path(), "image", &packed);
        let images = place.import(&source).unwrap();
        assert_eq!(images[0].id, id.as_str());
        assert!(images[0].repo_tags.is_empty() && images[0].repo_digests.is_empty());
        assert_eq!(images[0].layers.len(), 3);
        assert_eq!(fs::read(place.layer(&images[0], 2).join("b")).unwrap(), b"2");
    }
}

fn docker_save(layers: &[&str], extra: impl Fn(Tar) -> Tar, diff_ids: &[Digest]) -> Vec<u8> {
    let config = build::config(diff_ids);
    let name = format!("{}.json", Digest::of(&config).hex());
    let manifest =
        json!([{"Config": name, "RepoTags": ["busybox:1.36", "example.org/bb:x"], "Layers": layers}]);
    let tar = extra(Tar::default().file(&name, &config));
    tar.file("manifest.json", manifest.to_string().as_bytes()).bytes()
}

#[test]
fn an_old_docker_archive_with_a_linked_layer_is_read() {
    let layer = small();
    let top = Tar::default().file("x", b"x").bytes();
    let extra = |tar: Tar| {
        tar.file("aa/layer.tar", &layer).link("bb/layer.tar", "../aa/layer.tar").file("cc/layer.tar", &top)
    };
    let diff_ids = [Digest::of(&layer), Digest::of(&layer), Digest::of(&top)];
    let bytes = docker_save(&["aa/layer.tar", "bb/layer.tar", "cc/layer.tar"], extra, &diff_ids);
    let place = Place::new();
    let images = place.import(&write(place.folder.path(), "save.tar", &bytes)).unwrap();
    assert_eq!(images[0].repo_tags, ["docker.io/library/busybox:1.36", "example.org/bb:x"]);
    assert!(images[0].repo_digests.is_empty());
    assert_eq!(images[0].layers.len(), 3);
    assert_eq!(fs::read(place.layer(&images[0], 2).join("x")).unwrap(), b"x");
}

#[test]
fn a_new_docker_archive_takes_its_names_from_either_file() {
    let mut layout = Layout::default();
    let layer = small();
    let (mut entry, id) = layout.manifest(&[(layer.clone(), layer)]);
    entry["annotations"] = json!({
        "io.containerd.image.name": "docker.io/library/busybox:latest",
        "org.opencontainers.image.ref.name": "latest",
    });
    layout.entry(entry);
    let table =
        json!([{"Config": format!("blobs/sha256/{}", id.hex()), "RepoTags": ["other:1"], "Layers": []}]);
    layout.files.push(("manifest.json".to_owned(), table.to_string().into_bytes()));
    let place = Place::new();
    let images = place.import(&layout.write_tar(place.folder.path())).unwrap();
    assert_eq!(images[0].repo_tags, ["docker.io/library/busybox:latest", "docker.io/library/other:1"]);
    assert_eq!(images[0].repo_digests.len(), 2);
}

#[test]
fn this_machines_image_is_chosen_from_an_index() {
    let mut layout = Layout::default();
    let (mut other, _) = layout.manifest(&[(small(), small())]);
    other["platform"] = json!({"os": "linux", "architecture": "pdp11"});
    other["digest"] = json!(format!("sha256:{}", "7".repeat(64)));
    let top = Tar::default().file("mine", b"").bytes();
    let (mut mine, id) = layout.manifest(&[(top.clone(), top)]);
    mine["platform"] = json!({"os": "linux", "architecture": crate::image::documents::architecture()});
    let nested = json!({"schemaVersion": 2, "manifests": [other, mine]}).to_string();
    let mut entry = layout.descriptor(build::INDEX, nested.as_bytes());
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "example.org/multi:1"});
    layout.entry(entry);
    let place = Place::new();
    let images = place.import(&layout.write_tar(place.folder.path())).unwrap();
    assert_eq!(images[0].id, id.as_str());
    let by_index = format!("example.org/multi@{}", Digest::of(nested.as_bytes()));
    assert_eq!(images[0].repo_digests.len(), 2);
    assert_eq!(place.images.find(&by_index).unwrap().id, images[0].id);
}

#[test]
fn an_image_for_another_machine_alone_is_refused_by_name() {
    let mut layout = Layout::default();
    let (mut other, _) = layout.manifest(&[(small(), small())]);
    other["platform"] = json!({"os": "linux", "architecture": "pdp11"});
    layout.entry(other);
    let place = Place::new();
    let error = place.import(&layout.write_tar(place.folder.path())).unwrap_err();
    assert!(words(&error).contains("holds no image for linux/"), "{}", words(&error));
}

#[test]
fn everything_that_a_layer_may_hold_is_made_as_it_was() {
    let device = |letter: u8, name: &str, major: u32, minor: u32| {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_mode(0o620);
        header.set_uid(0);
        header.set_gid(5);
        header.set_size(0);
        header.set_mtime(1);
        header.set_entry_type(tar::EntryType::new(letter));
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        header.set_cksum();
        header
    };
    let capability: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0];
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(130));
    let tar = Tar::default()
        .entry(b'5', b"./", b"", 0o711, b"")
        .entry(b'0', b"su", b"", 0o4755, b"setuid")
        .hard_link("su2", "./su")
        .link("sh", "/bin/busybox")
        .hard_link("sh2", "sh")
        .header(&device(b'3', "null", 1, 3), b"")
        .header(&device(b'4', "loop", 7, 1), b"")
        .header(&device(b'6', "pipe", 0, 0), b"")
        .pax(&[
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.x", b"y\nz"),
            ("uid", b"1234"),
        ])
        .entry(b'0', b"capable", b"", 0o755, b"c")
        .pax(&[("path", "größe/ä".as_bytes()), ("mtime", b"1234567890.5")])
        .file("short", b"pax")
        .file(&long, b"long")
        .file("twice", b"first")
        .entry(b'0', b"twice", b"", 0o600, b"second")
        .folder("then-link/below")
        .link("then-link", "nowhere")
        .entry(b'g', b"global", b"", 0, b"18 comment=whatever")
        .entry(b'5', b"last-mode", b"", 0o700, b"")
        .entry(b'5', b"last-mode", b"", 0o1777, b"");
    let mut layout = Layout::default();
    layout.image("all:1", &[tar.bytes()]);
    let place = Place::new();
    let images = place.import(&layout.write_tar(place.folder.path())).unwrap();
    let root = place.layer(&images[0], 0);
    let facts = |name: &str| fs::symlink_metadata(root.join(name)).unwrap();
    assert_eq!(facts("").permissions().mode() & 0o7777, 0o711);
    assert_eq!(facts("su").permissions().mode() & 0o7777, 0o4755);
    assert_eq!((facts("su").ino(), facts("sh").ino()), (facts("su2").ino(), facts("sh2").ino()));
    assert_eq!(fs::read_link(root.join("sh")).unwrap().to_str(), Some("/bin/busybox"));
    assert_eq!((facts("null").rdev(), facts("null").gid()), (rustix::fs::makedev(1, 3), 5));
    assert_eq!(facts("null").permissions().mode() & 0o7777, 0o620);
    assert!(facts("null").file_type().is_char_device() && facts("loop").file_type().is_block_device());
    assert!(facts("pipe").file_type().is_fifo());
    let mut value = [0_u8; 64];
    let length = rustix::fs::lgetxattr(root.join("capable"), "security.capability", &mut value).unwrap();
    assert_eq!(&value[..length], capability);
    let length = rustix::fs::lgetxattr(root.join("capable"), "user.x", &mut value).unwrap();
    assert_eq!((&value[..length], facts("capable").uid()), (&b"y\nz"[..], 1234));
    assert_eq!((facts("größe/ä").mtime(), facts("größe/ä").mtime_nsec()), (1_234_567_890, 500_000_000));
    assert_eq!(facts("größe").permissions().mode() & 0o7777, 0o755);
    assert_eq!(fs::read(root.join(&long)).unwrap(), b"long");
    assert_eq!(
        (fs::read(root.join("twice")).unwrap().as_slice(), facts("twice").mode() & 0o777),
        (&b"second"[..], 0o600)
    );
    assert!(facts("then-link").is_symlink());
    assert_eq!((facts("last-mode").mode() & 0o7777, facts("last-mode").mtime()), (0o1777, 1_000_000_000));
}

#[test]
fn folders_that_only_the_layer_below_names_look_like_there() {
    let below = Tar::default().entry(b'5', b"tmp", b"", 0o1777, b"").bytes();
    let above = Tar::default().file("tmp/x", b"").file("other/y", b"").bytes();
    let mut layout = Layout::default();
    layout.image("tmp:1", &[below, above]);
    let place = Place::new();
    let images = place.import(&layout.write_tar(place.folder.path())).unwrap();
    let root = place.layer(&images[0], 1);
    assert_eq!(fs::metadata(root.join("tmp")).unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(fs::metadata(root.join("other")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn an_image_without_layers_is_an_image() {
    let mut layout = Layout::default();
    layout.image("empty:1", &[]);
    let place = Place::new();
    let images = place.import(&layout.write_tar(place.folder.path())).unwrap();
    assert!(images[0].layers.is_empty() && images[0].size > 0);
}
