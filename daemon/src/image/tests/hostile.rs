//! Damaged and hostile images: each is refused with a word that says why, nothing outside the layer is touched,
//! and nothing of it stays.
//!
//! Never: trusts that a refusal cleaned up; it looks.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    Place,
    build::{self, Layout, Tar, gzip, write, zstd},
    words,
};
use crate::image::{Digest, unpack::Bounds};

/// Imports it, which must fail with `why`, and looks that nothing changed: below ROOT, and in a folder beside
/// the layers that a climb of any height from a layer would meet.
#[track_caller]
fn refused_in(place: &Place, bytes: &[u8], why: &str) {
    let canary = place.folder.path().join("canary");
    write(&canary, "file", b"untouched");
    let facts = || {
        let (folder, file) = (fs::metadata(&canary).unwrap(), fs::metadata(canary.join("file")).unwrap());
        (folder.ctime_nsec(), folder.mode(), folder.nlink(), file.ctime_nsec(), file.mode(), file.nlink())
    };
    let (before, files) = (facts(), place.files());
    let beside = fs::read_dir(place.folder.path()).unwrap().count();
    let source = write(&place.folder.path().join("source"), "image.tar", bytes);
    let error = place.import(&source).expect_err(why);
    fs::remove_dir_all(place.folder.path().join("source")).unwrap();
    assert!(words(&error).contains(why), "{:?} does not say {why:?}", words(&error));
    assert_eq!(facts(), before, "{why}");
    assert_eq!(place.files(), files, "{why}");
    assert_eq!(fs::read_dir(place.folder.path()).unwrap().count(), beside, "{why}");
    assert!(place.images.list().is_empty() && place.snapshots.chains().is_empty());
}

/// An image with one good layer and this one above it.
#[track_caller]
fn layer_refused(layer: Vec<u8>, why: &str) {
    let mut layout = Layout::default();
    layout.image("evil:1", &[Tar::default().file("good", b"good").bytes(), layer]);
    refused_in(&Place::new(), &layout.tar(), why);
}

fn tar() -> Tar {
    Tar::default()
}

#[test]
fn names_that_climb_or_are_absolute_are_refused() {
    for name in ["../x", "a/../../x", "..", "a/..", "../../../../canary/file"] {
        layer_refused(tar().file(name, b"x").bytes(), "it climbs");
        layer_refused(tar().folder(name).bytes(), "it climbs");
        layer_refused(tar().link(name, "x").bytes(), "it climbs");
    }
    for name in ["/etc/x", "//x", "/canary/file"] {
        layer_refused(tar().file(name, b"x").bytes(), "it is absolute");
    }
    layer_refused(tar().pax(&[("path", b"../x")]).file("harmless", b"x").bytes(), "it climbs");
    layer_refused(tar().pax(&[("path", b"a\0b")]).file("harmless", b"x").bytes(), "bad name");
}

/// Imports layers that aim at a canary outside, which must not feel it. The folder of the topmost one.
#[track_caller]
fn harmless(layers: &[Vec<u8>]) -> (Place, PathBuf) {
    let mut layout = Layout::default();
    layout.image("links:1", layers);
    let place = Place::new();
    let canary = write(place.folder.path(), "canary/file", b"untouched");
    let facts = || {
        let (folder, file) =
            (fs::metadata(canary.parent().unwrap()).unwrap(), fs::metadata(&canary).unwrap());
        (folder.ctime_nsec(), folder.nlink(), file.ctime_nsec(), file.mode(), file.nlink())
    };
    let before = facts();
    let images = place.import(&layout.write_tar(place.folder.path())).unwrap();
    assert_eq!(facts(), before);
    let folder = place.layer(&images[0], layers.len() - 1);
    (place, folder)
}

#[test]
fn a_way_through_a_link_ends_inside() {
    let canary = "../../../../canary";
    for (to, there) in [(canary, "canary"), ("/etc", "etc"), ("..", ""), (".", ""), ("real", "real")] {
        let layer = tar().folder("real").link("s", to).file("s/x", b"x").folder("s/d").file("s/d/e/y", b"y");
        // In one layer, and over a layer that brings the link.
        let above = tar().file("s/x", b"x").folder("s/d").file("s/d/e/y", b"y");
        let below = tar().folder("real").link("s", to);
        for layers in [vec![layer.bytes()], vec![below.bytes(), above.bytes()]] {
            let (_place, root) = harmless(&layers);
            assert_eq!(fs::read(root.join(there).join("x")).unwrap(), b"x", "{to}");
            assert_eq!(fs::read(root.join(there).join("d/e/y")).unwrap(), b"y", "{to}");
        }
    }
    // A folder that becomes a link between two entries.
    let swapped =
        tar().file("d/a", b"a").entry(b'2', b"d", canary.as_bytes(), 0o777, b"").file("d/file", b"x");
    let (_place, root) = harmless(&[swapped.bytes()]);
    assert_eq!(fs::read(root.join("canary/file")).unwrap(), b"x");
    let chained =
        tar().link("a", ".").link("b", "a/..").file("b/x", b"x").link("c", "/b/../../b").file("c/y", b"y");
    let (_place, root) = harmless(&[chained.bytes()]);
    assert!(root.join("x").is_file() && root.join("y").is_file());
    layer_refused(tar().link("a", "b").link("b", "a").file("a/x", b"x").bytes(), "more symbolic links");
    layer_refused(tar().file("f", b"f").file("f/x", b"x").bytes(), "below something that is no folder");
    layer_refused(tar().file("good/x", b"x").bytes(), "below something that is no folder");
}

#[test]
fn links_of_lower_layers_count_unless_they_are_hidden() {
    let below = || tar().folder("usr/lib").file("usr/lib/old", b"old").link("lib", "usr/lib").bytes();
    let (_place, root) = harmless(&[below(), tar().file("lib/x", b"x").file("lib/.wh.old", b"").bytes()]);
    assert!(root.join("usr/lib/x").is_file() && !root.join("lib").exists());
    assert!(
        fs::symlink_metadata(root.join("usr/lib/old")).unwrap().rdev() == 0,
        "the whiteout is where it hides"
    );
    // The link is gone: a folder of its name is a new one.
    let hidden = tar().file(".wh.lib", b"").file("lib/x", b"x").bytes();
    let (_place, root) = harmless(&[below(), hidden]);
    assert!(root.join("lib/x").is_file() && !root.join("usr").exists());
    let middle = tar().file(".wh.lib", b"").bytes();
    let (_place, root) = harmless(&[below(), middle, tar().file("lib/x", b"x").bytes()]);
    assert!(root.join("lib/x").is_file());
    // So is everything in a folder that is opaque.
    let opaque = tar().folder("d").link("d/l", "/usr").bytes();
    let above = tar().file("d/.wh..wh..opq", b"").file("d/l/x", b"x").bytes();
    let (_place, root) = harmless(&[opaque, above]);
    assert!(root.join("d/l/x").is_file());
}

#[test]
fn a_folder_or_file_in_the_place_of_a_link_replaces_it() {
    let canary = "../../../../canary";
    let layer = tar()
        .link("d", canary)
        .entry(b'5', b"d", b"", 0o777, b"")
        .file("d/x", b"inside")
        .link("f", &format!("{canary}/file"))
        .file("f", b"inside")
        .link("h", &format!("{canary}/file"))
        .hard_link("h2", "h")
        .entry(b'0', b"h2", b"", 0o4777, b"inside");
    let mut layout = Layout::default();
    layout.image("swap:1", &[layer.bytes()]);
    let place = Place::new();
    let canary = write(place.folder.path(), "canary/file", b"untouched");
    let before = fs::metadata(&canary).unwrap();
    let images = place.import(&layout.write_tar(place.folder.path())).unwrap();
    let root = place.layer(&images[0], 0);
    assert_eq!(fs::read(root.join("d/x")).unwrap(), b"inside");
    assert!(fs::symlink_metadata(root.join("f")).unwrap().is_file());
    assert!(fs::symlink_metadata(root.join("h")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(root.join("h2")).unwrap().is_file());
    let after = fs::metadata(&canary).unwrap();
    assert_eq!((before.ctime_nsec(), before.mode()), (after.ctime_nsec(), after.mode()));
}

#[test]
fn hard_links_stay_in_the_layer() {
    for target in ["/etc/passwd", "../../../../canary/file", "../x", ".", ""] {
        layer_refused(tar().hard_link("h", target).bytes(), "leaves the layer's folder or leads through");
    }
    // The way to the target ends inside, where there is no such file.
    let through = tar().link("s", "../../../../canary").hard_link("h", "s/file");
    layer_refused(through.bytes(), "which is not in the layer");
    layer_refused(
        tar().folder("d").hard_link("h", "d").bytes(),
        "leaves the layer's folder or leads through",
    );
    layer_refused(tar().hard_link("h", "bad").bytes(), "which is not in the layer");
    layer_refused(tar().file("d/t", b"").hard_link("d", "d/t").bytes(), "which is not in the layer");
}

#[test]
fn a_hard_link_to_a_file_of_a_lower_layer_brings_it_up() {
    let below = tar().folder("usr").entry(b'0', b"usr/f", b"", 0o4755, b"content").link("bin", "usr");
    let (_place, root) = harmless(&[below.bytes(), tar().hard_link("h", "bin/f").bytes()]);
    let (one, other) = (fs::metadata(root.join("h")).unwrap(), fs::metadata(root.join("usr/f")).unwrap());
    assert_eq!((one.ino(), one.mode() & 0o7777, one.nlink()), (other.ino(), 0o4755, 2));
    assert_eq!(fs::read(root.join("h")).unwrap(), b"content");
}

#[test]
fn whiteouts_hide_names_only() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh..."] {
        layer_refused(tar().file(name, b"").bytes(), "hides no name");
    }
}

#[test]
fn kinds_and_attributes_that_have_no_place_in_a_layer_are_refused() {
    layer_refused(tar().entry(b'S', b"sparse", b"", 0, b"").bytes(), "a sparse file");
    layer_refused(tar().pax(&[("GNU.sparse.map", b"0,1")]).file("f", b"").bytes(), "a sparse file");
    layer_refused(tar().entry(b'Z', b"odd", b"", 0, b"").bytes(), "of type 'Z'");
    for name in ["trusted.overlay.opaque", "trusted.overlay.redirect", "trusted.overlay.metacopy"] {
        let key = format!("SCHILY.xattr.{name}");
        layer_refused(tar().pax(&[(&key, b"y")]).file("f", b"").bytes(), "the runtime's own");
        layer_refused(tar().pax(&[(&key, b"y")]).folder("d").bytes(), "the runtime's own");
    }
    layer_refused(tar().pax(&[("uid", b"4294967295")]).file("f", b"").bytes(), "uid is out of range");
    layer_refused(tar().link("l", "").bytes(), "bad link");
}

#[test]
fn names_and_headers_without_measure_are_refused() {
    layer_refused(tar().file(&"n".repeat(300), b"").bytes(), "bytes of one name");
    layer_refused(tar().file(&"n/".repeat(2100), b"").bytes(), "bytes of one path");
    let huge = tar().entry(b'L', b"././@LongLink", b"", 0, &vec![b'n'; 2 << 20]);
    layer_refused(huge.file("f", b"").bytes(), "bytes of one entry's headers");
    let huge = vec![b'v'; 2 << 20];
    layer_refused(tar().pax(&[("comment", &huge)]).file("f", b"").bytes(), "bytes of one entry's headers");
    let large = vec![b'v'; 70_000];
    let layer = tar().pax(&[("SCHILY.xattr.user.x", &large)]).file("f", b"");
    layer_refused(layer.bytes(), "bytes of one extended attribute");
    let mut header = tar::Header::new_gnu();
    header.set_path("big").unwrap();
    header.set_size(u64::MAX);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    layer_refused(tar().header(&header, b"").bytes(), "size is out of range");
}

#[test]
fn bombs_end_at_the_bound() {
    let bomb = tar().file("zeros", &vec![0; 4 << 20]).bytes();
    for packed in [gzip(&bomb), zstd(&bomb)] {
        let mut layout = Layout::default();
        let (entry, _) = layout.manifest(&[(packed, bomb.clone())]);
        layout.entry(entry);
        let place = Place::bounded(Bounds { bytes: 1 << 20, ..Bounds::default() });
        refused_in(&place, &layout.tar(), "the bound of 1048576 bytes, unpacked");
    }
    let many = (0..101).fold(tar(), |tar, n| tar.file(&n.to_string(), b"")).bytes();
    let mut layout = Layout::default();
    layout.image("many:1", &[many]);
    let place = Place::bounded(Bounds { entries: 100, ..Bounds::default() });
    refused_in(&place, &layout.tar(), "the bound of 100 entries");
}

#[test]
fn damaged_layers_are_refused() {
    let plain = tar().file("f", &vec![b'x'; 100_000]).bytes();
    layer_refused(plain[..60_000].to_vec(), "it is cut");
    layer_refused(plain[..300].to_vec(), "it is cut");
    let mut flipped = plain.clone();
    flipped[3] ^= 1;
    layer_refused(flipped, "the checksum is wrong");
    let mut zeros = plain.clone();
    zeros.splice(0..0, [0; 512]);
    layer_refused(zeros, "a single block of zeros");
    layer_refused(b"not a tar at all".repeat(100), "the checksum is wrong");
    layer_refused(b"\xfd7zXZ\0rest".to_vec(), "compressed with xz");
    for packed in [gzip(&plain), zstd(&plain)] {
        let mut layout = Layout::default();
        let (entry, _) = layout.manifest(&[(packed[..packed.len() / 2].to_vec(), plain.clone())]);
        layout.entry(entry);
        refused_in(&Place::new(), &layout.tar(), "it is cut");
    }
}

/// A layout whose layer blob is exchanged after its digest was taken.
fn exchanged(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let plain = tar().file("f", b"content").bytes();
    let packed = gzip(&plain);
    let mut layout = Layout::default();
    let (entry, _) = layout.manifest(&[(packed.clone(), plain)]);
    layout.entry(entry);
    for (_, bytes) in layout.files.iter_mut().filter(|(_, bytes)| *bytes == packed) {
        change(bytes);
    }
    layout.tar()
}

#[test]
fn every_digest_and_length_is_verified() {
    let place = Place::new();
    // Damaged so that it cannot be decompressed, and so that it still can (the time in gzip's header).
    refused_in(&place, &exchanged(|bytes| bytes[20] ^= 0xff), "damaged or forged");
    refused_in(&place, &exchanged(|bytes| bytes[4] ^= 0xff), "damaged or forged");
    refused_in(&place, &exchanged(|bytes| bytes.truncate(40)), "bytes instead of");
    let mut layout = Layout::default();
    let (other, plain) = (tar().file("f", b"other").bytes(), tar().file("f", b"this").bytes());
    let (entry, _) = layout.manifest(&[(gzip(&other), plain)]);
    layout.entry(entry);
    refused_in(&place, &layout.tar(), "damaged or forged");
    for kind in ["os", "manifests", "schemaVersion"] {
        // Some character of the configuration, then of the manifest.
        let mut layout = Layout::default();
        layout.image("x:1", &[tar().file("f", b"").bytes()]);
        let found = layout
            .files
            .iter_mut()
            .find(|(_, bytes)| bytes.windows(kind.len()).any(|w| w == kind.as_bytes()));
        if let Some((_, bytes)) = found {
            let at = bytes.windows(kind.len()).position(|w| w == kind.as_bytes()).unwrap();
            bytes[at] ^= 1;
            refused_in(&place, &layout.tar(), "damaged or forged");
        }
    }
}

#[test]
fn a_docker_archive_with_a_wrong_diff_id_or_name_is_refused() {
    let layer = tar().file("f", b"").bytes();
    for (diff_id, name, why) in [
        (Digest::of(b"other"), None, "damaged or forged"),
        (Digest::of(&layer), Some("7".repeat(64) + ".json"), "damaged or forged"),
    ] {
        let config = build::config(&[diff_id]);
        let name = name.unwrap_or_else(|| format!("{}.json", Digest::of(&config).hex()));
        let table = json!([{"Config": name, "RepoTags": null, "Layers": ["l/layer.tar"]}]).to_string();
        let bytes =
            tar().file(&name, &config).file("l/layer.tar", &layer).file("manifest.json", table.as_bytes());
        refused_in(&Place::new(), &bytes.bytes(), why);
    }
}

/// A layout around a manifest given as JSON.
fn around(manifest: &serde_json::Value, config: &[u8]) -> Vec<u8> {
    let mut layout = Layout::default();
    layout.blob(config);
    let entry = layout.descriptor(build::MANIFEST, manifest.to_string().as_bytes());
    layout.entry(entry);
    layout.tar()
}

#[test]
fn documents_that_lie_are_refused() {
    let good = build::config(&[]);
    let descriptor = |bytes: &[u8], kind: &str| json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()});
    let config = descriptor(&good, build::CONFIG);
    let place = Place::new();
    let try_one = |manifest: serde_json::Value, config: &[u8], why: &str| {
        refused_in(&place, &around(&manifest, config), why);
    };
    let layer = descriptor(b"", build::LAYER);
    try_one(json!({"config": config, "layers": [layer]}), &good, "1 layers but its configuration lists 0");
    try_one(
        json!({"config": config, "layers": [], "manifests": []}),
        &good,
        "an index and a manifest at once",
    );
    try_one(json!({"config": config, "layers": [], "mediaType": build::INDEX}), &good, "media type");
    try_one(json!({"config": config, "fsLayers": []}), &good, "schema 1");
    try_one(json!({"config": config}), &good, "neither manifests nor config and layers");
    try_one(json!({"config": descriptor(&good, "application/vnd.wasm"), "layers": []}), &good, "media type");
    let foreign = descriptor(b"", "application/vnd.oci.image.layer.v1.tar+encrypted");
    try_one(json!({"config": config, "layers": [foreign]}), &good, "media type");
    try_one(json!({"config": {"digest": "md5:12", "size": 1}, "layers": []}), &good, "no sha256 digest");
    try_one(
        json!({"config": {"digest": "sha256:../../etc/passwd"}, "layers": []}),
        &good,
        "no sha256 digest",
    );
    let text = b"not json";
    try_one(json!({"config": descriptor(text, build::CONFIG), "layers": []}), text, "no valid JSON");
    let windows = br#"{"os":"windows","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}"#;
    try_one(
        json!({"config": descriptor(windows, build::CONFIG), "layers": []}),
        windows,
        "no image for linux/",
    );
    let odd = br#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["x"]}}"#;
    try_one(json!({"config": descriptor(odd, build::CONFIG), "layers": [layer]}), odd, "no sha256 digest");
    let missing = descriptor(b"missing", build::CONFIG);
    try_one(json!({"config": missing, "layers": []}), &good, "is not in the archive");
    let many: Vec<_> = (0..501).map(|_| layer.clone()).collect();
    try_one(json!({"config": config, "layers": many}), &good, "more than 500 layers");
    let large = vec![b' '; (4 << 20) + 1];
    try_one(
        json!({"config": descriptor(&large, build::CONFIG), "layers": []}),
        &large,
        "larger than 4194304 bytes",
    );
}

#[test]
fn a_missing_layer_is_named() {
    let mut layout = Layout::default();
    let layer = tar().file("f", b"").bytes();
    layout.image("x:1", std::slice::from_ref(&layer));
    layout.files.retain(|(_, bytes)| *bytes != layer);
    refused_in(&Place::new(), &layout.tar(), Digest::of(&layer).hex());
}

#[test]
fn indexes_without_end_are_refused() {
    let mut layout = Layout::default();
    let (mut entry, _) = layout.manifest(&[]);
    for _ in 0..5 {
        let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
        entry = layout.descriptor(build::INDEX, index.as_bytes());
    }
    layout.entry(entry);
    refused_in(&Place::new(), &layout.tar(), "lies below more than 3 indexes");
}

#[test]
fn what_is_no_image_is_refused() {
    let place = Place::new();
    refused_in(&place, b"", "holds no image");
    refused_in(&place, &tar().file("readme", b"").bytes(), "holds no image");
    refused_in(&place, &b"garbage".repeat(1000), "the archive");
    refused_in(&place, &tar().file("index.json", b"{").bytes(), "no valid JSON");
    refused_in(&place, &tar().file("manifest.json", b"{}").bytes(), "no valid JSON");
    refused_in(
        &place,
        &tar().file("index.json", b"[]").file("index.json", b"{\"manifests\":[]}").bytes(),
        "no image for",
    );
    let looped = tar().link("index.json", "manifest.json").link("manifest.json", "index.json");
    refused_in(&place, &looped.bytes(), "holds no image");
    let outside = tar().link("index.json", "../../../../etc/passwd").link("manifest.json", "/etc/passwd");
    refused_in(&place, &outside.bytes(), "holds no image");
    assert!(
        words(&place.import(Path::new("/nonexistent")).unwrap_err()).contains("cannot read /nonexistent")
    );
    assert!(
        words(&place.import(Path::new("/dev/null")).unwrap_err()).contains("neither a file nor a folder")
    );
}

#[test]
fn a_folder_with_links_for_blobs_is_refused() {
    let mut layout = Layout::default();
    layout.image("x:1", &[]);
    let place = Place::new();
    let folder = layout.write_folder(place.folder.path());
    fs::rename(folder.join("blobs"), folder.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", folder.join("blobs")).unwrap();
    assert!(words(&place.import(&folder).unwrap_err()).contains("cannot read"));
}

#[test]
fn one_bad_image_of_a_file_keeps_the_good_one_out_too() {
    let mut layout = Layout::default();
    layout.image("good:1", &[tar().file("fine", b"fine").bytes()]);
    layout.image("evil:1", &[tar().file("../x", b"x").bytes()]);
    refused_in(&Place::new(), &layout.tar(), "it climbs");
}
