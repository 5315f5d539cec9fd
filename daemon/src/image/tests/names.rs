//! Names that move, lookups, removal, pins, restarts and imports at the same time.
//!
//! Never: tests what is in a layer.

use std::{fs, sync::Arc, thread};

use super::{
    Place,
    build::{Layout, Tar},
};
use crate::{
    image::{Digest, ImageError, record::Record},
    snapshot::SnapshotError,
};

fn layer(text: &str) -> Vec<u8> {
    Tar::default().file("content", text.as_bytes()).bytes()
}

/// Imports an image of these layers under a name; its id.
fn import(place: &Place, name: &str, layers: &[Vec<u8>]) -> String {
    let mut layout = Layout::default();
    layout.image(name, layers);
    place.import(&layout.write_tar(place.folder.path())).unwrap()[0].id.clone()
}

#[test]
fn every_way_to_name_an_image_finds_it() {
    let place = Place::new();
    let id = import(&place, "busybox", &[layer("a")]);
    import(&place, "localhost:5000/other:2", &[layer("b")]);
    let image = place.images.find("busybox").unwrap();
    let digest = image.repo_digests[0].split_once('@').unwrap().1.to_owned();
    let hex = id.trim_start_matches("sha256:");
    for wanted in [
        "busybox",
        "busybox:latest",
        "docker.io/busybox",
        "docker.io/library/busybox:latest",
        &id,
        hex,
        &hex[..12],
        &format!("sha256:{}", &hex[..12]),
        &format!("busybox@{digest}"),
        &format!("busybox:any@{digest}"),
    ] {
        assert_eq!(place.images.find(wanted).map(|i| i.id.clone()), Some(id.clone()), "{wanted}");
    }
    for wanted in ["", "busybox:1", "other:2", "x/busybox", &hex[..2], "sha256:", &format!("other@{digest}")]
    {
        assert!(place.images.find(wanted).is_none(), "{wanted}");
    }
    assert_eq!(place.images.find("localhost:5000/other:2").unwrap().repo_tags, ["localhost:5000/other:2"]);
}

#[test]
fn a_tag_that_moves_leaves_the_old_image_without_it() {
    let mut place = Place::new();
    let old = import(&place, "app:1", &[layer("old")]);
    import(&place, "app:stable", &[layer("old")]);
    let new = import(&place, "app:1", &[layer("new")]);
    for _ in 0..2 {
        assert_eq!(place.images.find("app:1").unwrap().id, new);
        assert_eq!(place.images.find(&old).unwrap().repo_tags, ["docker.io/library/app:stable"]);
        assert_eq!(place.images.list().len(), 2);
        place.reopen();
    }
}

#[test]
fn of_two_records_with_one_tag_the_later_has_it() {
    let mut place = Place::new();
    let old = import(&place, "app:1", &[layer("old")]);
    let record = place.root().join(format!("images/{}.json", old.trim_start_matches("sha256:")));
    let kept = fs::read(&record).unwrap();
    let new = import(&place, "app:1", &[layer("new")]);
    // As if the daemon had died between the two records.
    super::build::write(record.parent().unwrap(), record.file_name().unwrap().to_str().unwrap(), &kept);
    place.reopen();
    assert_eq!(place.images.find("app:1").unwrap().id, new);
    assert!(place.images.find(&old).unwrap().repo_tags.is_empty());
}

#[test]
fn removal_takes_all_names_and_frees_what_nobody_else_uses() {
    let place = Place::new();
    import(&place, "one:1", &[layer("shared"), layer("one")]);
    import(&place, "one:2", &[layer("shared"), layer("one")]);
    import(&place, "two:1", &[layer("shared"), layer("two")]);
    assert_eq!(place.snapshots.chains().len(), 3);
    place.images.remove("one:2").unwrap();
    assert!(place.images.find("one:1").is_none());
    assert_eq!(place.snapshots.chains().len(), 2);
    place.images.remove("one:1").unwrap();
    place.images.remove("no name at all //").unwrap();
    place.images.remove("two:1").unwrap();
    assert!(place.snapshots.chains().is_empty() && place.images.list().is_empty());
    assert_eq!(fs::read_dir(place.root().join("images")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(place.root().join("snapshots/layers")).unwrap().count(), 0);
}

#[test]
fn a_pinned_image_stays() {
    let place = Place::new();
    let id = import(&place, "app:1", &[layer("a")]);
    let pin = place.images.pin(&id).unwrap();
    let second = place.images.pin(&id).unwrap();
    import(&place, "app:2", &[layer("a")]);
    drop(second);
    match place.images.remove("app:1") {
        Err(ImageError::InUse { image, pins }) => assert_eq!((image, pins), (id.clone(), 1)),
        other => panic!("{other:?}"),
    }
    assert_eq!(pin.image().id, id);
    drop(pin);
    place.images.remove("app:1").unwrap();
    assert!(place.images.pin(&id).is_none());
}

#[test]
fn layers_below_a_container_outlive_a_damaged_record() {
    let mut place = Place::new();
    let id = import(&place, "app:1", &[layer("a")]);
    import(&place, "gone:1", &[layer("b")]);
    let target = place.folder.path().join("target");
    fs::create_dir(&target).unwrap();
    let layers = place.images.find("app:1").unwrap().layers.clone();
    if let Err(error) = place.snapshots.mount("abc", &layers, &target) {
        eprintln!("skipped: no mounts here: {error}");
        return;
    }
    for record in fs::read_dir(place.root().join("images")).unwrap() {
        let record = record.unwrap();
        super::build::write(
            &place.root().join("images"),
            record.file_name().to_str().unwrap(),
            b"{\"version\":1}",
        );
    }
    place.reopen();
    assert!(place.images.list().is_empty());
    assert_eq!(place.snapshots.chains(), layers);
    place.snapshots.release("abc", &target).unwrap();
    place.reopen();
    assert!(place.snapshots.chains().is_empty());
    assert_eq!(import(&place, "app:1", &[layer("a")]), id);
}

#[test]
fn an_image_that_lost_a_layer_is_not_listed() {
    let mut place = Place::new();
    import(&place, "app:1", &[layer("a")]);
    let image = place.images.find("app:1").unwrap();
    fs::remove_dir_all(place.layer(&image, 0)).unwrap();
    place.reopen();
    assert!(place.images.list().is_empty());
    import(&place, "app:1", &[layer("a")]);
    assert!(place.snapshots.has(&image.layers[0]));
}

#[test]
fn imports_and_removals_at_the_same_time_agree() {
    let place = Arc::new(Place::new());
    let mut layout = Layout::default();
    let shared: Vec<_> = (0..5).map(|n| layer(&n.to_string())).collect();
    layout.image("same:1", &shared);
    layout.image("same:2", &shared[..3]);
    let source = layout.write_tar(place.folder.path());
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert_eq!(place.import(&source).unwrap().len(), 2));
            scope.spawn(|| place.images.remove("same:1").unwrap());
        }
    });
    place.import(&source).unwrap();
    assert_eq!(place.snapshots.chains().len(), 5);
    assert_eq!(fs::read_dir(place.root().join("snapshots/layers")).unwrap().count(), 5);
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| place.images.remove("same:1").unwrap());
            scope.spawn(|| place.images.remove("same:2").unwrap());
        }
    });
    assert!(place.images.list().is_empty() && place.snapshots.chains().is_empty());
}

#[test]
fn a_layer_that_is_being_removed_is_not_taken_for_one_that_is_there() {
    let place = Place::new();
    import(&place, "app:1", &[layer("a"), layer("b")]);
    let image = place.images.find("app:1").unwrap();
    let shared = place.images.shared();
    let turn = shared.locks().lock(&image.layers[0]);
    thread::scope(|scope| {
        let asked = scope.spawn(|| shared.keeps(&image.layers[0]));
        place.snapshots.remove(&image.layers[0]).unwrap();
        drop(turn);
        assert!(!asked.join().unwrap());
    });
    assert!(shared.keeps(&image.layers[1]));
    // No record names a layer that is not there.
    let id = Digest::parse(&image.id).unwrap();
    let mut record = Record::read(shared.folder(), &id).unwrap();
    record.repo_tags = vec!["docker.io/library/app:2".to_owned()];
    let error = shared.enter(record).unwrap_err();
    assert!(matches!(error, ImageError::Snapshot(SnapshotError::NoLayer(_))), "{error:?}");
    assert!(place.images.find("app:2").is_none());
}

#[test]
fn one_counts_at_a_time_and_what_cannot_be_counted_is_no_reason_to_count_for_ever() {
    let place = Place::new();
    import(&place, "app:1", &[layer("a"), layer("b")]);
    let image = place.images.find("app:1").unwrap();
    assert!(!place.images.usage().1);
    let counter = place.images.counter().unwrap();
    assert!(place.images.counter().is_none(), "one has the right");
    fs::remove_dir_all(place.layer(&image, 0)).unwrap();
    counter.count();
    let (usage, whole) = place.images.usage();
    assert!(whole && usage.inodes > 0, "{usage:?}");
    // It comes back when there is another reason to count.
    fs::create_dir(place.layer(&image, 0)).unwrap();
    import(&place, "app:2", &[layer("c")]);
    place.images.counter().unwrap().count();
    let (later, whole) = place.images.usage();
    assert!(whole && later.inodes > usage.inodes + 2, "{later:?}");
}
