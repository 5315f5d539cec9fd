//! Records, and the contiguous buffer in which they are gathered for one write.
//!
//! Owns: the bytes of a record. Never: IO.

use crate::{
    limits::RECORD_MAX,
    line::{Piece, Tag},
    timestamp::STAMP_LEN,
};

/// Bytes before a record's content: stamp, space, stream, space, tag, space. Both stream names have six letters.
pub const HEAD_LEN: usize = STAMP_LEN + 1 + 6 + 1 + 1 + 1;

/// Which of a container's streams a record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Records gathered in memory that somebody else owns.
#[derive(Debug)]
pub struct Batch<'a> {
    memory: &'a mut [u8],
    len: usize,
}

/// A line that this many bytes hold is copied as that many, whatever its length: a copy of known length costs no
/// call.
const SHORT: usize = 64;

impl<'a> Batch<'a> {
    /// An empty batch in this memory, which must hold a record of any size.
    pub fn new(memory: &'a mut [u8]) -> Self {
        assert!(memory.len() >= RECORD_MAX, "a batch holds at least one record");
        Self { memory, len: 0 }
    }

    /// The records so far.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[..self.len]
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Nothing gathered.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a record. `false`: no room, write and clear first.
    #[must_use]
    pub fn push(&mut self, stamp: &[u8; STAMP_LEN], stream: Stream, piece: &Piece<'_>) -> bool {
        let size = HEAD_LEN + piece.len() + 1;
        let Some(place) = self.memory.get_mut(self.len..) else { return false };
        if place.len() < size {
            return false;
        }
        let (head, content) = place.split_at_mut(HEAD_LEN);
        head[..STAMP_LEN].copy_from_slice(stamp);
        let middle: &[u8; HEAD_LEN - STAMP_LEN] = match (stream, piece.tag) {
            (Stream::Stdout, Tag::Full) => b" stdout F ",
            (Stream::Stdout, Tag::Partial) => b" stdout P ",
            (Stream::Stderr, Tag::Full) => b" stderr F ",
            (Stream::Stderr, Tag::Partial) => b" stderr P ",
        };
        head[STAMP_LEN..].copy_from_slice(middle);
        if !piece.carried.is_empty() {
            content[..piece.carried.len()].copy_from_slice(piece.carried);
        }
        let fresh = piece.fresh.len();
        copy(&mut content[piece.carried.len()..], piece.fresh);
        content[piece.carried.len() + fresh] = b'\n';
        self.len += size;
        true
    }
}

fn copy(into: &mut [u8], from: &[u8]) {
    if from.len() > 4 * SHORT {
        into[..from.len()].copy_from_slice(from);
        return;
    }
    let (mut blocks, mut rest) = (into.chunks_exact_mut(SHORT), from);
    while rest.len() >= SHORT {
        let (Some(block), Some((now, later))) = (blocks.next(), rest.split_first_chunk::<SHORT>()) else {
            break;
        };
        block.copy_from_slice(now);
        rest = later;
    }
    let done = from.len() - rest.len();
    into[done..done + rest.len()].copy_from_slice(rest);
}

/// How many of the container's own bytes these whole records stand for: contents, and a line feed for each full one.
pub fn payload(records: &[u8]) -> u64 {
    let line = |line: &[u8]| {
        let partial = line.get(HEAD_LEN - 2) == Some(&b'P');
        u64::try_from(line.len().saturating_sub(HEAD_LEN + usize::from(partial))).unwrap_or(0)
    };
    records.split_inclusive(|&b| b == b'\n').map(line).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Batch, HEAD_LEN, RECORD_MAX, Stream, payload};
    use crate::{
        limits::PIECE_MAX,
        line::{Piece, Tag},
        timestamp::Stamper,
    };

    #[test]
    fn the_bytes_of_a_record() {
        let mut memory = vec![0; RECORD_MAX];
        let mut batch = Batch::new(&mut memory);
        let mut stamper = Stamper::default();
        let whole = Piece { carried: b"he", fresh: b"llo", tag: Tag::Full };
        assert!(batch.push(stamper.at(1), Stream::Stdout, &whole));
        let part = Piece { carried: b"", fresh: b"", tag: Tag::Partial };
        assert!(batch.push(stamper.at(2), Stream::Stderr, &part));
        assert_eq!(
            batch.bytes(),
            b"1970-01-01T00:00:00.000000001Z stdout F hello\n1970-01-01T00:00:00.000000002Z stderr P \n"
        );
        assert_eq!(payload(batch.bytes()), 6);
    }

    #[test]
    fn a_record_without_room_is_refused_whole() {
        let mut memory = vec![0; RECORD_MAX];
        let mut batch = Batch::new(&mut memory);
        let stamp = *Stamper::default().at(0);
        let largest = vec![b'x'; PIECE_MAX];
        let piece = Piece { carried: b"", fresh: &largest, tag: Tag::Full };
        assert!(batch.push(&stamp, Stream::Stdout, &piece));
        assert!(!batch.push(&stamp, Stream::Stdout, &piece));
        assert_eq!(batch.bytes().len(), RECORD_MAX);
    }

    proptest! {
        #[test]
        fn content_comes_back(carried in prop::collection::vec(1u8..9, 0..300), fresh in prop::collection::vec(1u8..9, 0..300), full in any::<bool>()) {
            let mut memory = vec![0; RECORD_MAX];
            let mut batch = Batch::new(&mut memory);
            let tag = if full { Tag::Full } else { Tag::Partial };
            let piece = Piece { carried: &carried, fresh: &fresh, tag };
            prop_assert!(batch.push(Stamper::default().at(0), Stream::Stdout, &piece));
            let content = [carried, fresh, vec![b'\n']].concat();
            prop_assert_eq!(&batch.bytes()[HEAD_LEN..], &content[..]);
            prop_assert_eq!(payload(batch.bytes()), u64::try_from(content.len()).unwrap() - u64::from(!full));
        }
    }
}
