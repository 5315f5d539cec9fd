//! Image files that want out of their root, through the door that an operator uses: refused with a reason or
//! harmless, and nothing outside is touched. The unpacker's own tests know many more kinds.
//!
//! Never: an escape that this test could not see.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::json;
use tests::{daemon::Daemon, image_file};

/// One entry of a layer: kind, name, and content or target.
type Entry<'a> = (tar::EntryType, &'a str, &'a str);

const FILE: tar::EntryType = tar::EntryType::Regular;
const SYMLINK: tar::EntryType = tar::EntryType::Symlink;
const LINK: tar::EntryType = tar::EntryType::Link;

/// A layer with names as they stand: the tar package would refuse to write these.
fn layer(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (kind, name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let field = &mut header.as_old_mut().name;
        field[..name.len()].copy_from_slice(name.as_bytes());
        let body: &[u8] = if *kind == FILE { content.as_bytes() } else { b"" };
        header.set_size(body.len() as u64);
        if *kind != FILE {
            let target = &mut header.as_old_mut().linkname;
            target[..content.len()].copy_from_slice(content.as_bytes());
        }
        header.set_cksum();
        tar.append(&header, body).unwrap();
    }
    tar.into_inner().unwrap()
}

fn import(daemon: &Daemon, name: &str, layer: &[u8]) -> (Option<i32>, String) {
    let file = daemon.path(&format!("{name}.tar"));
    image_file::write(&file, &format!("hostile/{name}:1"), layer, &json!({})).unwrap();
    let done = daemon.cli(&["image", "import", &file.to_string_lossy()]);
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
}

/// A file outside that every escape aims at: deep enough for `..`, and by its absolute path.
fn aim(daemon: &Daemon) -> PathBuf {
    daemon.path("escaped")
}

fn untouched(path: &Path, how: &str) {
    let found = fs::symlink_metadata(path).map(drop).map_err(|e| e.kind());
    assert_eq!(found, Err(io::ErrorKind::NotFound), "{how} reached {}", path.display());
}

#[test]
fn no_layer_writes_outside_its_root() {
    let Some(daemon) = Daemon::start() else { return };
    let target = aim(&daemon);
    let absolute = target.to_string_lossy().into_owned();
    let folder = target.parent().unwrap().to_string_lossy().into_owned();
    let up = format!("{}{}", "../".repeat(20), absolute.trim_start_matches('/'));
    let through = format!("door/{}", target.file_name().unwrap().to_string_lossy());
    let cases: [(&str, Vec<Entry<'_>>); 6] = [
        ("dots", vec![(FILE, up.as_str(), "x")]),
        ("absolute", vec![(FILE, absolute.as_str(), "x")]),
        ("symlink", vec![(SYMLINK, "door", folder.as_str()), (FILE, through.as_str(), "x")]),
        (
            "relative-symlink",
            vec![(SYMLINK, "door", "../../../../../../../../tmp"), (FILE, "door/escaped", "x")],
        ),
        ("hardlink", vec![(LINK, "shadow", "/etc/shadow"), (FILE, "shadow", "x")]),
        ("whiteout", vec![(SYMLINK, "door", folder.as_str()), (FILE, "door/.wh.demo.tar", "")]),
    ];
    let shadow = fs::read("/etc/shadow").unwrap_or_default();
    for (name, entries) in cases {
        let (code, said) = import(&daemon, name, &layer(&entries));
        assert!(code == Some(0) || code == Some(1) && said.len() > 20, "{name}: {code:?} {said}");
        assert!(!said.contains("panicked"), "{name}: {said}");
        untouched(&target, name);
        untouched(Path::new("/tmp/escaped"), name);
        assert_eq!(fs::read("/etc/shadow").unwrap_or_default(), shadow, "{name}");
        assert!(daemon.path("demo.tar").exists(), "{name} took a file outside away");
        daemon.cli(&["image", "remove", &format!("hostile/{name}:1")]);
    }
}

#[test]
fn a_layer_that_is_not_what_the_configuration_says_is_refused() {
    let Some(daemon) = Daemon::start() else { return };
    let good = daemon.path("good.tar");
    image_file::write(&good, "hostile/digest:1", &layer(&[(FILE, "a", "one")]), &json!({})).unwrap();
    let mut bytes = fs::read(&good).unwrap();
    let at = bytes.windows(3).position(|window| window == b"one").unwrap();
    bytes[at..at + 3].copy_from_slice(b"two");
    let bad = daemon.path("bad.tar");
    put(&bad, &bytes);
    let done = daemon.cli(&["image", "import", &bad.to_string_lossy()]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("sha256:"), "both digests are named: {said}");
}

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
fn put(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
}
