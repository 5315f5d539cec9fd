//! Whiteouts and opaque folders from archive to mounted root file system, by overlay and by plain copy.
//!
//! Never: leaves a mount behind, unless an assertion fails.

use std::{fs, path::Path, sync::Arc};

use super::build::{Layout, Tar};
use crate::{
    image::{Bounds, Images},
    snapshot::{Overlay, PlainCopy, Snapshotter},
};

/// What a mounted image shows, as sorted paths.
fn shown(root: &Path, snapshots: Arc<dyn Snapshotter>, layers: &[Vec<u8>]) -> Vec<String> {
    let mut layout = Layout::default();
    layout.image("white:1", layers);
    let images = Images::open(root, Arc::clone(&snapshots), Bounds::default()).unwrap();
    let imported = images.import(&layout.write_tar(root), &|_| {}).unwrap();
    let target = root.join("target");
    fs::create_dir(&target).unwrap();
    snapshots.mount("key", &imported[0].layers, &target).unwrap();
    let mut found = Vec::new();
    let mut folders = vec![target.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(&target).unwrap().to_str().unwrap().to_owned());
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                folders.push(path);
            }
        }
    }
    snapshots.release("key", &target).unwrap();
    found.sort();
    found
}

fn check(layers: &[Vec<u8>], expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    assert_eq!(shown(&copy, Arc::new(PlainCopy::open(&copy).unwrap()), layers), expected, "plain copy");
    let overlay = folder.path().join("overlay");
    match Overlay::open(&overlay) {
        Ok(store) => assert_eq!(shown(&overlay, Arc::new(store), layers), expected, "overlay"),
        Err(error) => eprintln!("skipped: overlay: {error}"),
    }
}

fn base() -> Vec<u8> {
    Tar::default().folder("d").file("d/old", b"").folder("e").file("e/old", b"").file("f", b"").bytes()
}

#[test]
fn a_whiteout_hides_files_and_folders_below() {
    let above = Tar::default().file(".wh.f", b"").file("e/.wh.old", b"").file(".wh.d", b"").file("new", b"");
    check(&[base(), above.bytes()], &["e", "new"]);
}

#[test]
fn an_opaque_folder_hides_all_below_but_not_beside() {
    let before = Tar::default().folder("d").file("d/.wh..wh..opq", b"").file("d/new", b"");
    check(&[base(), before.bytes()], &["d", "d/new", "e", "e/old", "f"]);
    let after = Tar::default().file("d/new", b"").file("d/.wh..wh..opq", b"");
    check(&[base(), after.bytes()], &["d", "d/new", "e", "e/old", "f"]);
}

#[test]
fn what_a_layer_brings_beside_its_own_whiteout_is_seen() {
    let before =
        Tar::default().file(".wh.d", b"").folder("d").file("d/new", b"").file(".wh.f", b"").file("f", b"");
    check(&[base(), before.bytes()], &["d", "d/new", "e", "e/old", "f"]);
    let after =
        Tar::default().folder("d").file("d/new", b"").file(".wh.d", b"").file("f", b"").file(".wh.f", b"");
    check(&[base(), after.bytes()], &["d", "d/new", "e", "e/old", "f"]);
    let parent = Tar::default().file(".wh.d", b"").file("d/new", b"");
    check(&[base(), parent.bytes()], &["d", "d/new", "e", "e/old", "f"]);
}

#[test]
fn names_that_aufs_kept_for_itself_are_passed_over() {
    let above = Tar::default().folder(".wh..wh.plnk").file(".wh..wh.aufs", b"").file("new", b"");
    check(&[base(), above.bytes()], &["d", "d/old", "e", "e/old", "f", "new"]);
    check(&[Tar::default().file(".wh.nothing", b"").file("a", b"").bytes()], &["a"]);
}

#[test]
fn a_file_in_the_place_of_a_folder_below_hides_it() {
    let above = Tar::default().file("d", b"").link("e", "d");
    check(&[base(), above.bytes()], &["d", "e", "f"]);
}
