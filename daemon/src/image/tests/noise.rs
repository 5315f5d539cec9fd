//! Random damage to an image file: whatever comes, nothing panics and nothing outside the layers is touched.
//!
//! Never: says which damage is refused; some of it is harmless.

use std::fs;

use proptest::prelude::*;

use super::{
    Place,
    build::{Layout, Tar, gzip, write},
};
use crate::image::tar_stream::{Skip, TarStream};

fn image() -> Vec<u8> {
    let plain = Tar::default()
        .folder("a")
        .pax(&[("path", b"a/long"), ("SCHILY.xattr.user.x", b"y")])
        .file("a/f", b"content")
        .link("l", "a/f")
        .hard_link("h", "a/f")
        .file("a/.wh.gone", b"")
        .bytes();
    let mut layout = Layout::default();
    let (entry, _) = layout.manifest(&[(gzip(&plain), plain.clone()), (plain.clone(), plain)]);
    layout.entry(entry);
    layout.tar()
}

/// A source of bytes that need not be an archive.
struct Bytes<'a>(&'a [u8]);

impl std::io::Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        std::io::Read::read(&mut self.0, buffer)
    }
}

impl Skip for Bytes<'_> {}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_do_no_harm(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>()) {
        let mut bytes = image();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cut.index(4) == 0 {
            bytes.truncate(cut.index(bytes.len()));
        }
        let place = Place::new();
        let source = write(place.folder.path(), "image.tar", &bytes);
        let known = place.import(&source).map_or(0, |images| images.len());
        prop_assert_eq!(place.images.list().len(), known);
        prop_assert_eq!(fs::read_dir(place.folder.path()).unwrap().count(), 2);
        if known == 0 {
            prop_assert!(place.snapshots.chains().is_empty());
        }
    }
}

proptest! {
    #[test]
    fn headers_of_any_bytes_end(seed in prop::collection::vec(any::<u8>(), 0..2048), letter in any::<u8>(), size in any::<u64>()) {
        let mut header = tar::Header::new_gnu();
        let length = seed.len().min(100);
        header.as_old_mut().name[..length].copy_from_slice(&seed[..length]);
        header.set_size(size);
        header.set_entry_type(tar::EntryType::new(letter));
        header.set_cksum();
        let bytes = Tar::default().header(&header, &seed).bytes();
        let mut tar = TarStream::new(Bytes(&bytes));
        let mut members = 0;
        while let Ok(Some(_)) = tar.next_member() {
            members += 1;
        }
        prop_assert!(members <= bytes.len() / 512);
    }
}
