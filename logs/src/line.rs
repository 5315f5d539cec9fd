//! Cuts a stream of bytes into the pieces that become records: whole lines, and parts of at most 16 KiB of longer
//! ones. What is no whole line yet is carried until more comes, so records do not depend on how reads fell.
//!
//! Owns: the incomplete tail of one stream. Never: IO; decides when a tail has waited long enough.

use memchr::memchr;

use crate::limits::PIECE_MAX;

/// The splitter of one stream.
#[derive(Debug, Default)]
pub struct LineSplitter {
    tail: Vec<u8>,
    /// The tail went out with the last piece and is emptied at the next call, since that piece borrowed it.
    spent: bool,
}

/// Does the container's line end with this piece?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// It does: a line feed followed.
    Full,
    /// It goes on in this stream's next piece.
    Partial,
}

/// The content of one record, in two parts to spare a copy: what was carried, then what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Carried from earlier reads.
    pub carried: &'a [u8],
    /// From this one.
    pub fresh: &'a [u8],
    /// Whether the line ends here.
    pub tag: Tag,
}

impl Piece<'_> {
    /// Bytes of content.
    pub fn len(&self) -> usize {
        self.carried.len() + self.fresh.len()
    }

    /// An empty line, or the end of one whose content went out before.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl LineSplitter {
    /// The next piece, with `input` moved past it. `None`: all of `input` is consumed, an incomplete end carried.
    pub fn next<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Option<Piece<'s>> {
        self.forget_spent();
        let room = PIECE_MAX - self.tail.len();
        // One byte more than fits: a line feed right behind a full piece makes it a whole line.
        let window = &input[..input.len().min(room + 1)];
        let (content, rest, tag) = match memchr(b'\n', window) {
            Some(at) => (&window[..at], &input[at + 1..], Tag::Full),
            None if window.len() > room => (&window[..room], &input[room..], Tag::Partial),
            None => {
                self.tail.extend_from_slice(window);
                *input = &[];
                return None;
            }
        };
        *input = rest;
        self.spent = true;
        Some(Piece { carried: &self.tail, fresh: content, tag })
    }

    /// The incomplete tail as a partial piece, if there is one: it waited long enough, or the stream ended. No
    /// line end is made up for it.
    pub fn flush(&mut self) -> Option<Piece<'_>> {
        self.forget_spent();
        if self.tail.is_empty() {
            return None;
        }
        self.spent = true;
        Some(Piece { carried: &self.tail, fresh: &[], tag: Tag::Partial })
    }

    /// What is carried now: whoever goes on after us needs it.
    pub fn tail(&self) -> &[u8] {
        if self.spent { &[] } else { &self.tail }
    }

    /// A splitter that goes on where another one was with this tail, of which at most [`PIECE_MAX`] bytes are taken.
    pub fn with_tail(tail: &[u8]) -> Self {
        Self { tail: tail[..tail.len().min(PIECE_MAX)].to_vec(), spent: false }
    }

    /// Whether a tail is carried.
    pub fn has_tail(&self) -> bool {
        !self.spent && !self.tail.is_empty()
    }

    /// Gives the tail's memory back where there is none to keep.
    pub fn release(&mut self) {
        self.forget_spent();
        self.tail.shrink_to_fit();
    }

    fn forget_spent(&mut self) {
        if self.spent {
            self.tail.clear();
            self.spent = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{LineSplitter, PIECE_MAX, Tag};

    type Record = (Vec<u8>, Tag);

    fn feed(splitter: &mut LineSplitter, mut input: &[u8], into: &mut Vec<Record>) {
        while let Some(piece) = splitter.next(&mut input) {
            into.push(([piece.carried, piece.fresh].concat(), piece.tag));
        }
        assert!(input.is_empty());
    }

    fn split(reads: &[&[u8]]) -> Vec<Record> {
        let (mut splitter, mut records) = (LineSplitter::default(), Vec::new());
        for read in reads {
            feed(&mut splitter, read, &mut records);
        }
        if let Some(piece) = splitter.flush() {
            records.push((piece.carried.to_vec(), piece.tag));
        }
        records
    }

    /// The slow, obvious way: all lines, each cut in pieces.
    fn model(whole: &[u8]) -> Vec<Record> {
        let mut records = Vec::new();
        let mut lines: Vec<&[u8]> = whole.split(|&b| b == b'\n').collect();
        let tail = lines.pop().unwrap_or_default();
        for line in lines {
            let mut pieces: Vec<Record> =
                line.chunks(PIECE_MAX).map(|piece| (piece.to_vec(), Tag::Partial)).collect();
            match pieces.last_mut() {
                Some(last) => last.1 = Tag::Full,
                None => pieces.push((Vec::new(), Tag::Full)),
            }
            records.extend(pieces);
        }
        records.extend(tail.chunks(PIECE_MAX).map(|piece| (piece.to_vec(), Tag::Partial)));
        records
    }

    fn some_bytes() -> impl Strategy<Value = Vec<u8>> {
        let run = (
            prop::sample::select(vec![b'\n', b'a', 0u8, 0xff]),
            prop::sample::select(vec![1usize, 2, 31, PIECE_MAX - 1, PIECE_MAX, PIECE_MAX + 1, 3 * PIECE_MAX]),
        );
        prop::collection::vec(run, 0..12).prop_map(|runs| {
            runs.into_iter()
                .flat_map(|(byte, count)| vec![byte; if byte == b'\n' { count.min(3) } else { count }])
                .collect()
        })
    }

    proptest! {
        #[test]
        fn records_do_not_depend_on_reads(whole in some_bytes(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9)) {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
            at.push(0);
            at.push(whole.len());
            at.sort_unstable();
            let reads: Vec<&[u8]> = at.windows(2).map(|w| &whole[w[0]..w[1]]).collect();
            prop_assert_eq!(split(&reads), model(&whole));
        }

        #[test]
        fn no_byte_is_lost_whenever_tails_are_flushed(reads in prop::collection::vec((prop::collection::vec(prop::sample::select(vec![b'\n', b'x', b'y']), 0..40), any::<bool>()), 0..40)) {
            let (mut splitter, mut back, mut whole) = (LineSplitter::default(), Vec::new(), Vec::new());
            for (read, flush) in &reads {
                whole.extend_from_slice(read);
                let mut records = Vec::new();
                feed(&mut splitter, read, &mut records);
                if *flush && let Some(piece) = splitter.flush() {
                    records.push((piece.carried.to_vec(), piece.tag));
                }
                prop_assert!(!flush || !splitter.has_tail());
                for (content, tag) in records {
                    back.extend(content);
                    back.extend((tag == Tag::Full).then_some(b'\n'));
                }
            }
            if let Some(piece) = splitter.flush() {
                back.extend(piece.carried);
            }
            prop_assert_eq!(back, whole);
        }
    }

    #[test]
    fn an_end_without_line_feed_is_partial_and_nothing_follows() {
        assert_eq!(split(&[b"a\nb"]), [(b"a".to_vec(), Tag::Full), (b"b".to_vec(), Tag::Partial)]);
    }

    #[test]
    fn a_full_piece_and_its_line_feed_are_one_record() {
        let line = vec![b'x'; PIECE_MAX];
        assert_eq!(split(&[&line, b"\n"]), [(line, Tag::Full)]);
    }
}
