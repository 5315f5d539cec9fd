//! Layers, mounts and their removal, by overlay (where the host has it and lets us mount) and by plain copy.
//!
//! Never: leaves a mount behind, unless an assertion fails.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    Below, ChainId, FillError, Fresh, Overlay, PlainCopy, SnapshotError, Snapshotter, overlay_mount::unmount,
};
use crate::sys::unpack::{Attributes, Beneath, Kind};

const KEY: &str = "0123abc";

fn chain(n: u32) -> ChainId {
    ChainId::parse(&format!("{n:064x}")).unwrap()
}

/// Fills a layer by what the closure does below it.
fn commit(
    store: &dyn Snapshotter,
    n: u32,
    below: &[ChainId],
    work: impl Fn(&mut Beneath) -> std::io::Result<()>,
) -> Result<(), SnapshotError> {
    let mut fill = |fresh: &Fresh<'_>| -> Result<u64, FillError> {
        work(&mut Beneath::new(fresh.folder)?)?;
        Ok(7)
    };
    store.commit(&chain(n), Below::there(below), &mut fill)
}

fn write(to: &mut Beneath, path: &str, text: &[u8]) -> std::io::Result<()> {
    let mut file = to.make_file(Path::new(path))?;
    std::io::Write::write_all(&mut file, text)?;
    Beneath::dress_file(&file, &Attributes { mode: 0o644, ..Attributes::default() })
}

/// Two layers: files, a whiteout, an opaque folder.
fn two_layers(store: &dyn Snapshotter) -> Vec<ChainId> {
    commit(store, 1, &[], |to| {
        to.make_folder(Path::new("hidden"))?;
        write(to, "hidden/old", b"old")?;
        write(to, "gone", b"gone")?;
        write(to, "kept", b"kept")?;
        to.make_hard_link(Path::new("kept2"), Path::new("kept"))?;
        to.dress_folder(Path::new(""), &Attributes { mode: 0o751, ..Attributes::default() })
    })
    .unwrap();
    commit(store, 2, &[chain(1)], |to| {
        to.make_folder(Path::new("hidden"))?;
        to.mark_folder(Path::new("hidden"), "trusted.overlay.opaque", b"y")?;
        write(to, "hidden/new", b"new")?;
        to.make_node(Path::new("gone"), Kind::WHITEOUT)
    })
    .unwrap();
    vec![chain(1), chain(2)]
}

/// The stores to test: overlay only where a mount works, said aloud where not.
fn stores(folder: &Path) -> Vec<Box<dyn Snapshotter>> {
    let mut stores: Vec<Box<dyn Snapshotter>> =
        vec![Box::new(PlainCopy::open(&folder.join("copy")).unwrap())];
    match Overlay::open(&folder.join("overlay")) {
        Ok(overlay) => stores.push(Box::new(overlay)),
        Err(error) => eprintln!("skipped: overlay: {error}"),
    }
    stores
}

fn target(folder: &Path) -> PathBuf {
    let target = folder.join("target");
    fs::create_dir_all(&target).unwrap();
    target
}

#[test]
fn a_root_file_system_shows_the_layers_and_keeps_changes_out_of_them() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(folder.path()) {
        let layers = two_layers(&*store);
        let target = target(folder.path());
        store.mount(KEY, &layers, &target).unwrap();
        store.mount(KEY, &layers, &target).unwrap();
        let names = |at: &str| {
            let mut names: Vec<_> = fs::read_dir(target.join(at))
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(""), ["hidden", "kept", "kept2"], "{store:?}");
        assert_eq!(names("hidden"), ["new"]);
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o751);
        fs::File::create(target.join("kept")).unwrap();
        let other = target.with_file_name("other");
        fs::create_dir_all(&other).unwrap();
        store.mount("other", &layers, &other).unwrap();
        assert_eq!(fs::read(other.join("kept")).unwrap(), b"kept");
        assert!(matches!(store.mount(KEY, &layers[..1], &target), Err(SnapshotError::Conflict(_))));
        assert!(matches!(store.remove(&layers[0]), Err(SnapshotError::InUse { .. })));
        assert_eq!(store.keys().unwrap(), [KEY, "other"]);
        for (key, target) in [(KEY, &target), ("other", &other)] {
            store.release(key, target).unwrap();
            store.release(key, target).unwrap();
        }
        assert!(store.keys().unwrap().is_empty());
        for layer in layers.iter().rev() {
            store.remove(layer).unwrap();
            store.remove(layer).unwrap();
        }
        assert!(store.chains().is_empty());
    }
}

#[test]
fn an_image_without_layers_gets_an_empty_root() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(folder.path()) {
        let target = target(folder.path());
        store.mount(KEY, &[], &target).unwrap();
        fs::File::create(target.join("x")).unwrap();
        assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
        store.release(KEY, &target).unwrap();
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    }
}

#[test]
fn a_busy_root_file_system_is_released_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(folder.path()) {
        let target = target(folder.path());
        store.mount(KEY, &[], &target).unwrap();
        let held = fs::File::create(target.join("x")).unwrap();
        store.release(KEY, &target).unwrap();
        assert!(store.keys().unwrap().is_empty());
        drop(held);
    }
}

#[test]
fn a_hundred_layers_at_a_long_path_fit_into_one_mount() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("long".repeat(30)).join("path".repeat(30));
    let Ok(store) = Overlay::open(&root) else {
        eprintln!("skipped: no overlay");
        return;
    };
    let mut layers = Vec::new();
    for n in 0..100 {
        commit(&store, n, &layers, |to| write(to, &format!("file-{n}"), b"")).unwrap();
        layers.push(chain(n));
    }
    let target = target(folder.path());
    store.mount(KEY, &layers, &target).unwrap();
    assert_eq!(fs::read_dir(&target).unwrap().count(), 100);
    store.release(KEY, &target).unwrap();
}

#[test]
fn a_layer_is_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let store = PlainCopy::open(&root).unwrap();
    let failed = commit(&store, 1, &[], |to| {
        write(to, "half", b"half")?;
        Err(std::io::Error::other("no more"))
    });
    assert!(matches!(failed, Err(SnapshotError::Fill { .. })));
    assert!(!store.has(&chain(1)) && store.chains().is_empty());
    assert_eq!(fs::read_dir(root.join("snapshots/layers")).unwrap().count(), 0);
    assert!(matches!(commit(&store, 2, &[chain(1)], |_| Ok(())), Err(SnapshotError::NoLayer(_))));
    // What a kill in the middle leaves: a folder without a record, and a record half written.
    fs::create_dir(root.join("snapshots/layers/17")).unwrap();
    fs::File::create(root.join("snapshots/chains/x.json.new")).unwrap();
    let store = PlainCopy::open(&root).unwrap();
    assert_eq!(fs::read_dir(root.join("snapshots/layers")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(root.join("snapshots/chains")).unwrap().count(), 0);
    commit(&store, 1, &[], |to| write(to, "whole", b"")).unwrap();
    assert_eq!(store.size(&chain(1)), Some(7));
    let again = PlainCopy::open(&root).unwrap();
    assert!(again.has(&chain(1)));
}

#[test]
fn folders_deeper_than_any_path_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = PlainCopy::open(folder.path()).unwrap();
    let mount = target(folder.path());
    store.mount(KEY, &[], &mount).unwrap();
    unmount(&mount).unwrap();
    let mut at = fs::File::open(folder.path().join("snapshots/active").join(KEY).join("fs")).unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&at, "deep", rustix::fs::Mode::from_raw_mode(0o700)).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
        at = rustix::fs::openat(&at, "deep", flags, rustix::fs::Mode::empty()).unwrap().into();
    }
    store.release(KEY, &mount).unwrap();
    assert!(store.keys().unwrap().is_empty());
}

#[test]
fn keys_and_roots_that_would_harm_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = PlainCopy::open(folder.path()).unwrap();
    for key in ["", "..", "a/b", "../x"] {
        assert!(matches!(store.mount(key, &[], folder.path()), Err(SnapshotError::BadKey(_))), "{key}");
    }
    assert!(matches!(Overlay::open(&folder.path().join("a:b")), Err(SnapshotError::BadRoot(_))));
}

#[test]
fn a_root_file_system_that_was_never_taken_down_can_be_mounted_again() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(folder.path()) {
        let layers = two_layers(&*store);
        let target = target(folder.path());
        store.mount(KEY, &layers, &target).unwrap();
        fs::File::create(target.join("made")).unwrap();
        // What a reboot does to it.
        unmount(&target).unwrap();
        store.mount(KEY, &layers, &target).unwrap();
        assert!(target.join("made").exists() && target.join("kept").exists());
        store.release(KEY, &target).unwrap();
    }
}

#[test]
fn the_older_mount_call_does_as_well_and_names_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let Ok(store) = Overlay::open(&folder.path().join("overlay")) else {
        eprintln!("skipped: no overlay");
        return;
    };
    let layers = two_layers(&store);
    let target = target(folder.path());
    // Too long for the newer calls, which take 255 bytes.
    let part = folder.path().join("x".repeat(150)).join("y".repeat(150));
    for name in ["upper", "work"] {
        fs::create_dir_all(part.join(name)).unwrap();
    }
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let stack = |copies: usize| super::overlay_mount::Stack {
        lower: (0..copies)
            .map(|n| text(folder.path().join(format!("overlay/snapshots/layers/{n}"))))
            .collect(),
        upper: text(part.join("upper")),
        work: text(part.join("work")),
    };
    stack(layers.len()).mount(&target).unwrap();
    assert!(target.join("kept").exists());
    unmount(&target).unwrap();
    let error = stack(200).mount(&target).unwrap_err();
    assert!(error.to_string().contains("of 4095 bytes"), "{error}");
}
