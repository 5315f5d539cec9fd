//! The sink on a real folder, and on a disk that fills by script.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::Instant,
};

use proptest::prelude::*;

use super::{Disk, FileSink, OpenError, RETRY_LONGEST};
use crate::{
    limits::RECORD_MAX,
    line::{Piece, Tag},
    record::{Batch, HEAD_LEN, Stream},
    timestamp::{STAMP_LEN, Stamper},
};

/// A file with a bound.
#[derive(Default)]
struct Small {
    bytes: Vec<u8>,
    limit: usize,
    /// How much one write takes at most.
    bite: usize,
}

impl Disk for Small {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.limit.saturating_sub(self.bytes.len())).min(self.bite);
        if n == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.bytes.len()).unwrap())
    }

    fn cut(&mut self, size: u64) -> io::Result<()> {
        self.bytes.truncate(usize::try_from(size).unwrap());
        Ok(())
    }
}

fn stamp() -> [u8; STAMP_LEN] {
    *Stamper::default().at(0)
}

fn record(content: &str, tag: Tag) -> Vec<u8> {
    let mut memory = vec![0; RECORD_MAX];
    let mut batch = Batch::new(&mut memory);
    assert!(batch.push(&stamp(), Stream::Stdout, &Piece { carried: b"", fresh: content.as_bytes(), tag }));
    batch.bytes().to_vec()
}

fn write(sink: &mut FileSink, content: &str) {
    sink.write(&record(content, Tag::Full), &stamp(), Instant::now());
}

fn contents(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(|line| line[HEAD_LEN..].to_owned()).collect()
}

#[test]
fn what_was_there_stays_and_the_mode_is_for_the_group() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    for content in ["one", "two"] {
        write(&mut FileSink::open(&path).unwrap(), content);
    }
    assert_eq!(contents(&path), ["one", "two"]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
}

#[test]
fn a_rotation_goes_on_in_a_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let (path, rotated) = (dir.path().join("0.log"), dir.path().join("0.log.1"));
    let mut sink = FileSink::open(&path).unwrap();
    write(&mut sink, "one");
    assert!(!sink.reopen().unwrap(), "nothing was rotated");
    fs::rename(&path, &rotated).unwrap();
    write(&mut sink, "two");
    assert!(sink.reopen().unwrap());
    write(&mut sink, "three");
    assert_eq!(contents(&rotated), ["one", "two"]);
    assert_eq!(contents(&path), ["three"]);
    assert!(!sink.is_unlinked());
    fs::remove_file(&path).unwrap();
    assert!(sink.is_unlinked());
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    symlink("/etc/passwd", at("link")).unwrap();
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for name in ["folder", "link", "pipe", "missing/0.log"] {
        assert!(FileSink::open(&at(name)).is_err(), "{name}");
    }
    symlink("/dev/null", at("device")).unwrap();
    assert!(matches!(FileSink::open(Path::new("/dev/null")), Err(OpenError::NotRegular { .. })));
}

#[test]
fn a_failed_reopen_keeps_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let (path, rotated) = (dir.path().join("0.log"), dir.path().join("0.log.1"));
    let mut sink = FileSink::open(&path).unwrap();
    fs::rename(&path, &rotated).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(sink.reopen().is_err());
    write(&mut sink, "still here");
    assert_eq!(contents(&rotated), ["still here"]);
}

#[test]
fn a_full_disk_is_retried_with_a_growing_pause_and_marked_once() {
    let now = Instant::now();
    let mut sink = FileSink::on(PathBuf::new(), Small { limit: 10, bite: usize::MAX, ..Small::default() });
    sink.write(&record("lost", Tag::Full), &stamp(), now);
    assert_eq!(sink.lost(), 5, "four letters and a line feed");
    assert!(sink.disk.bytes.is_empty(), "the torn record is cut off");
    let first = sink.retry_at().unwrap();
    sink.retry(&stamp(), first);
    let second = sink.retry_at().unwrap();
    assert!(second - first > first - now && second - first <= RETRY_LONGEST);
    sink.disk.limit = usize::MAX;
    sink.write(&record("too early", Tag::Partial), &stamp(), first);
    assert_eq!(sink.lost(), 5 + 9);
    sink.retry(&stamp(), second);
    sink.write(&record("back", Tag::Full), &stamp(), second);
    let text = String::from_utf8(sink.disk.bytes.clone()).unwrap();
    let lines: Vec<&str> = text.lines().map(|line| &line[STAMP_LEN..]).collect();
    assert_eq!(lines, [" stderr F [taffrail] 14 bytes of output lost: disk full", " stdout F back"]);
    assert!(sink.retry_at().is_none());
}

proptest! {
    /// Whatever fits when: the file holds whole records only, in order, and what is missing is counted to the byte.
    #[test]
    fn nothing_is_torn_and_every_loss_is_counted(
        steps in prop::collection::vec(("[a-z]{0,90}", any::<bool>(), 0usize..400, 1usize..200), 1..60)
    ) {
        let mut sink = FileSink::on(PathBuf::new(), Small::default());
        let mut now = Instant::now();
        let mut produced = 0;
        for (content, full, more, bite) in &steps {
            let tag = if *full { Tag::Full } else { Tag::Partial };
            sink.disk.limit += more;
            sink.disk.bite = *bite;
            produced += content.len() + usize::from(*full);
            now += RETRY_LONGEST;
            sink.write(&record(content, tag), &stamp(), now);
        }
        sink.disk.limit = usize::MAX;
        sink.close(&stamp(), now);
        let text = String::from_utf8(sink.disk.bytes.clone()).unwrap();
        prop_assert!(text.is_empty() || text.ends_with('\n'));
        let (mut kept, mut marked) = (0, 0);
        for line in text.lines() {
            prop_assert!(line.starts_with("1970-01-01T00:00:00.000000000Z std"));
            let content = &line[HEAD_LEN..];
            match content.strip_prefix("[taffrail] ") {
                Some(words) => marked += words.split(' ').next().unwrap().parse::<u64>().unwrap(),
                None => kept += content.len() + usize::from(line.as_bytes()[HEAD_LEN - 2] == b'F'),
            }
        }
        prop_assert_eq!(marked, sink.lost());
        prop_assert_eq!(kept + usize::try_from(sink.lost()).unwrap(), produced);
    }
}
