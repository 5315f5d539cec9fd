//! An unpacked image equals what GNU tar or umoci make of the same layers, entry by entry: for a real Debian, and for
//! forged layers with everything a tar can hold.
//!
//! Never: an entry that is not looked at.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cri_api::v1;
use serde_json::{Value, json};
use tests::{
    ask,
    daemon::Daemon,
    host,
    layout::{Layout, Packing},
    tree,
};

/// Name of the image in the layouts, as umoci wants it.
const TAG: &str = "it";

fn program(name: &str) -> bool {
    let there = host::find(name).is_some();
    if !there {
        host::skip(name, &format!("no {name} here"));
    }
    there
}

#[track_caller]
fn run(program: &str, args: &[&str]) {
    let done = Command::new(host::find(program).unwrap()).args(args).output().unwrap();
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A layout of these plain layers that umoci and we can read.
fn layout(daemon: &Daemon, name: &str, layers: &[(&[u8], Packing)]) -> Layout {
    let layout = Layout::new(&daemon.path(name)).unwrap();
    let mut entry = layout.image(layers, &json!({})).unwrap();
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": TAG });
    layout.enter(&entry).unwrap();
    layout
}

/// Imports a layout; folders of its layers, bottom first.
fn import(daemon: &Daemon, layout: &Layout) -> (String, Vec<PathBuf>) {
    let done = daemon.cli(&["image", "import", "--json", &layout.path().to_string_lossy()]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let images: Value = serde_json::from_slice(&done.stdout).unwrap();
    let id = images[0]["id"].as_str().unwrap().to_owned();
    let request = v1::ImageStatusRequest { image: ask::image(&id), verbose: true };
    let info = daemon.client().image_status(request).unwrap().info;
    let info: Value = serde_json::from_str(&info["info"]).unwrap();
    let store = daemon.path("root/snapshots");
    let folder = |chain: &Value| {
        let hex = chain.as_str().unwrap().trim_start_matches("sha256:").to_owned();
        let record = fs::read(store.join("chains").join(format!("{hex}.json"))).unwrap();
        let record: Value = serde_json::from_slice(&record).unwrap();
        store.join("layers").join(record["folder"].to_string())
    };
    (id, info["chainIDs"].as_array().unwrap().iter().map(folder).collect())
}

/// What a container would see of these layers.
fn merged(daemon: &Daemon, layers: &[PathBuf]) -> tree::Tree {
    if let [one] = layers {
        return tree::read(one).unwrap();
    }
    let at = daemon.path("merged");
    fs::create_dir_all(&at).unwrap();
    let lower: Vec<String> = layers.iter().rev().map(|layer| layer.to_string_lossy().into_owned()).collect();
    let options = format!("ro,lowerdir={}", lower.join(":"));
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("overlay"), &at, Some("overlay"), flags, Some(options.as_str())).unwrap();
    let found = tree::read(&at);
    nix::mount::umount(&at).unwrap();
    found.unwrap()
}

#[track_caller]
fn equal(what: &str, ours: &tree::Tree, theirs: &tree::Tree) {
    let found = tree::differences(ours, theirs);
    assert!(
        found.is_empty(),
        "ours, then {what}'s: {} differ\n{}",
        found.len(),
        found[..found.len().min(20)].join("\n")
    );
    assert!(ours.len() > 1);
}

fn remove(daemon: &Daemon, id: &str) {
    daemon.client().remove_image(v1::RemoveImageRequest { image: ask::image(id) }).unwrap();
}

/// A real Debian as a plain tar, made once and kept under `target/`. `None`: no mirror can be reached.
fn debian() -> Option<PathBuf> {
    let kept = host::workspace().join("target/debootstrap");
    let archive = kept.join("minbase.tar");
    if archive.is_file() {
        return Some(archive);
    }
    if !program("debootstrap") {
        return None;
    }
    let root = kept.join("root");
    fs::remove_dir_all(&root).ok();
    fs::create_dir_all(&kept).unwrap();
    let made = Command::new(host::find("debootstrap").unwrap())
        .args(["--variant=minbase", "--foreign", "stable"])
        .arg(&root)
        .output()
        .unwrap();
    if !made.status.success() {
        host::skip("debian-mirror", "debootstrap reaches no mirror");
        return None;
    }
    let (half, root_text) = (kept.join("half.tar"), root.to_string_lossy().into_owned());
    let to = half.to_string_lossy().into_owned();
    run("tar", &["--numeric-owner", "--xattrs", "--format=pax", "-C", &root_text, "-cf", &to, "."]);
    fs::rename(&half, &archive).unwrap();
    fs::remove_dir_all(&root).unwrap();
    Some(archive)
}

#[test]
fn a_real_debian_is_what_gnu_tar_and_umoci_make_of_it() {
    if !program("umoci") {
        return;
    }
    let Some(archive) = debian() else { return };
    let Some(daemon) = Daemon::start() else { return };
    let bytes = fs::read(&archive).unwrap();
    let layout = layout(&daemon, "debian", &[(&bytes, Packing::Plain)]);
    let (id, layers) = import(&daemon, &layout);
    let ours = merged(&daemon, &layers);
    let by_tar = daemon.path("by-tar");
    fs::create_dir(&by_tar).unwrap();
    let (from, to) = (archive.to_string_lossy().into_owned(), by_tar.to_string_lossy().into_owned());
    run("tar", &["--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", &from, "-C", &to]);
    equal("GNU tar", &ours, &tree::read(&by_tar).unwrap());
    equal("umoci", &ours, &by_umoci(&daemon, &layout));
    host::figure(&format!("a Debian of {} entries is unpacked as by GNU tar and umoci", ours.len()));
    remove(&daemon, &id);
}

fn by_umoci(daemon: &Daemon, layout: &Layout) -> tree::Tree {
    let to = daemon.path("by-umoci");
    let image = format!("{}:{TAG}", layout.path().display());
    run("umoci", &["raw", "unpack", "--image", &image, &to.to_string_lossy()]);
    tree::read(&to).unwrap()
}

/// A layer in the making.
struct Forged(tar::Builder<Vec<u8>>);

/// What an entry looks like, apart from its name and content.
#[derive(Clone, Copy)]
struct Looks {
    kind: tar::EntryType,
    mode: u32,
    owner: (u64, u64),
    mtime: u64,
}

const FILE: Looks = Looks { kind: tar::EntryType::Regular, mode: 0o644, owner: (0, 0), mtime: 1_000_000_000 };
const FOLDER: Looks = Looks { kind: tar::EntryType::Directory, mode: 0o755, ..FILE };

impl Forged {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn add(mut self, name: &str, looks: Looks, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(looks.kind);
        header.set_mode(looks.mode);
        header.set_uid(looks.owner.0);
        header.set_gid(looks.owner.1);
        header.set_mtime(looks.mtime);
        header.set_size(content.len() as u64);
        self.0.append_data(&mut header, name, content).unwrap();
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.add(name, FILE, content.as_bytes())
    }

    fn folder(self, name: &str) -> Self {
        self.add(name, FOLDER, b"")
    }

    fn link(mut self, kind: tar::EntryType, name: &str, target: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o777);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_100_000_000);
        header.set_size(0);
        self.0.append_link(&mut header, name, target).unwrap();
        self
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.link(tar::EntryType::Symlink, name, target)
    }

    fn hard(self, name: &str, target: &str) -> Self {
        self.link(tar::EntryType::Link, name, target)
    }

    fn device(mut self, name: &str, kind: tar::EntryType, numbers: (u32, u32)) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o620);
        header.set_uid(0);
        header.set_gid(5);
        header.set_mtime(1_200_000_000);
        header.set_size(0);
        header.set_device_major(numbers.0).unwrap();
        header.set_device_minor(numbers.1).unwrap();
        self.0.append_data(&mut header, name, std::io::empty()).unwrap();
        self
    }

    /// Extended headers for the next entry.
    fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0.append_pax_extensions(records.iter().copied()).unwrap();
        self
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// Everything that one layer can hold.
fn lower() -> Vec<u8> {
    let long = "l".repeat(120);
    let odd = Looks { mode: 0o4751, owner: (1234, 2_000_000), mtime: 1, ..FILE };
    Forged::new()
        .add("./", Looks { mode: 0o751, mtime: 1_300_000_000, ..FOLDER }, b"")
        .folder("usr")
        .add("usr/lib", Looks { mode: 0o2775, owner: (3, 4), ..FOLDER }, b"")
        .add("tmp", Looks { mode: 0o1777, ..FOLDER }, b"")
        .symlink("lib", "usr/lib")
        .symlink("abs", "/usr/lib")
        .symlink("up", "../../../usr/lib")
        .symlink("dangling", "nowhere/at/all")
        .file("lib/through", "through a link")
        .file("abs/absolute", "through an absolute one")
        .file("up/climbs", "through one that climbs")
        .file("dangling/made", "what is not there is made")
        .add("usr/suid", odd, b"setuid")
        .file("usr/one", "one file, three names")
        .hard("usr/two", "usr/one")
        .hard("lib/three", "usr/one")
        .hard("linked-link", "lib")
        .device("null", tar::EntryType::Char, (1, 3))
        .device("disk", tar::EntryType::Block, (8, 1))
        .device("pipe", tar::EntryType::Fifo, (0, 0))
        .file(&format!("{long}/{long}/{long}"), "a long name")
        .file("odd \t\n\u{e4}", "an odd name")
        .pax(&[("mtime", b"1234567890.123456789"), ("SCHILY.xattr.user.note", b"a\0b\n")])
        .file("noted", "with an attribute and a fine time")
        .pax(&[("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0")])
        .file("capable", "with a capability")
        .folder("gone")
        .file("gone/deep/file", "hidden later")
        .folder("opaque")
        .file("opaque/old", "hidden by opacity")
        .file("opaque/sub/old", "this too")
        .file("was-file", "a file that becomes a folder")
        .folder("was-folder")
        .file("was-folder/x", "goes")
        .file("twice", "first")
        .file("twice", "second")
        .bytes()
}

/// What may come above.
fn upper() -> Vec<u8> {
    Forged::new()
        .file(".wh.gone", "")
        .folder("opaque")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "new")
        .file("lib/from-above", "through a link of the layer below")
        .file("lib/.wh.through", "")
        .file("usr/lib/plain", "unnamed parents keep their looks")
        .add("was-file", Looks { mode: 0o700, ..FOLDER }, b"")
        .file("was-file/inside", "inside")
        .file("was-folder", "a folder that became a file")
        .hard("brought-up", "usr/suid")
        .file("new/deep/down", "folders that nobody names")
        .bytes()
}

#[test]
fn forged_layers_are_what_umoci_makes_of_them() {
    if !program("umoci") {
        return;
    }
    let Some(daemon) = Daemon::start() else { return };
    let (lower, upper) = (lower(), upper());
    let last = Forged::new().file(".wh.lib", "").file("lib/real", "no link any more").bytes();
    let all: [(&[u8], Packing); 3] =
        [(&lower, Packing::Gzip), (&upper, Packing::Zstd), (&last, Packing::Plain)];
    // umoci of old knows no zstd.
    for height in 1..=all.len() {
        let plain: Vec<_> = all[..height].iter().map(|(layer, _)| (*layer, Packing::Gzip)).collect();
        let theirs = layout(&daemon, &format!("plain{height}"), &plain);
        let theirs_tree = by_umoci(&daemon, &theirs);
        fs::remove_dir_all(daemon.path("by-umoci")).unwrap();
        let own = layout(&daemon, &format!("own{height}"), &all[..height]);
        let (id, layers) = import(&daemon, &own);
        equal(
            &format!("umoci ({height} layers)"),
            &without_made(merged(&daemon, &layers)),
            &without_made(theirs_tree),
        );
        remove(&daemon, &id);
    }
    assert!(!Path::new("/nowhere").exists());
}

/// Times of folders that no layer names are those of the unpacking.
fn without_made(mut tree: tree::Tree) -> tree::Tree {
    let long = "l".repeat(120);
    let deep = format!("{long}/{long}");
    for name in [
        ".",
        "gone",
        "opaque",
        "nowhere",
        "nowhere/at",
        "nowhere/at/all",
        "gone/deep",
        "opaque/sub",
        "new",
        "new/deep",
        "lib",
        &long,
        &deep,
    ] {
        if let Some(line) = tree.get_mut(name)
            && line.starts_with("mode=4")
        {
            let end = line.find(" mtime=").unwrap_or(line.len());
            line.truncate(end);
        }
    }
    tree
}
