//! What a shim writes down for its successor, in memory that the keeper holds too: the order it was given, how far
//! the container's life is, and, for each read of the container's output, what was read and how far its records are
//! written.
//!
//! A read goes: the bytes that are expected are announced, with a mark at their end that the read overwrites; they are
//! read; their number, their stamp and the log's size are noted; their records are appended to the log; the splitters'
//! tails are noted, and with that the read is done. A successor finds out from this where its predecessor was killed,
//! and writes what is missing, once.
//!
//! Owns: the memory and its layout. Never: reads a stream; writes a log.

use std::{num::NonZeroUsize, os::fd::OwnedFd};

use logs::{
    Losses, STAMP_LEN,
    limits::{PIECE_MAX, READ_SIZE},
};

use crate::{
    fault::{Because, Fault},
    limits::FRAME_MAX,
    sys::memory::SharedMemory,
};

/// The layout's version: a successor is the same program, but a keeper may live longer than one.
const LAYOUT: u64 = 1;

// Words.
const VERSION: usize = 0;
const ORDER: usize = 1;
/// Sequence number of the remembered state; its lowest bit is its place.
const STATE: usize = 2;
const STATE_LEN: [usize; 2] = [3, 4];
/// Sequence number of the last read that is done; its lowest bit is the place of what it left.
const DONE: usize = 8;
/// Sequence number of the read that is under way.
const UNDER_WAY: usize = 9;
const KIND: usize = 10;
const EXPECTED: usize = 11;
const COUNT: usize = 12;
const BASE: usize = 13;
const MARK: usize = 14;
const STAMP: usize = 16;
/// What the last read left, twice: for each stream the length of its tail, then losses.
const LEFT: [usize; 2] = [24, 32];

// Mapped bytes: what is read, then the tails, two places for each stream.
const TAILS: usize = READ_SIZE;
const BYTES: usize = TAILS + 4 * PIECE_MAX;
const MAPPED: NonZeroUsize = NonZeroUsize::new(4096 + BYTES).expect("it is not zero");

// Behind the words in the first page: two places for a state of usual size, so that an idle container's journal is
// that page and the order.
const SMALL_STATES: usize = 1024;
const SMALL_STATE_MAX: usize = (4096 - SMALL_STATES) / 2;

// The rest of the file.
const STATE_MAX: usize = 512 * 1024;
const STATES: usize = MAPPED.get();
const ORDER_AT: usize = STATES + 2 * STATE_MAX;
const SIZE: usize = ORDER_AT + FRAME_MAX;

/// The mark's length.
const MARK_LEN: usize = size_of::<u64>();

/// What was under way when a predecessor was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pending {
    /// A read whose bytes may have come: this many of this stream; `None`: nobody can know.
    Read(u32, Option<usize>),
    /// Records of so many read bytes (0: of the tail alone), with this stamp, into a log of this size.
    Written(u32, usize, [u8; STAMP_LEN], u64),
}

/// How the number of bytes of a read is known beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Exactly.
    Exact(usize),
    /// Not more than this.
    AtMost(usize),
}

/// The journal.
#[derive(Debug)]
pub(crate) struct Journal {
    memory: SharedMemory,
    /// Changes with each read; a container cannot know it.
    mark: u64,
}

impl Journal {
    /// An empty one.
    pub(crate) fn new() -> Result<Self, Fault> {
        let memory = SharedMemory::new(SIZE, MAPPED).because(|| "no memory for the journal".into())?;
        memory.store(VERSION, LAYOUT);
        Ok(Self { memory, mark: seed() })
    }

    /// A predecessor's.
    pub(crate) fn take_over(fd: OwnedFd) -> Result<Self, Fault> {
        let memory = SharedMemory::of(fd, SIZE, MAPPED).because(|| "the journal cannot be read".into())?;
        if memory.load(VERSION) != LAYOUT {
            return Err(Fault::new("the journal has another layout"));
        }
        Ok(Self { memory, mark: seed() })
    }

    /// The memory, to be held.
    pub(crate) fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// Room for what is read.
    pub(crate) fn input(&mut self) -> &mut [u8] {
        &mut self.memory.bytes()[..READ_SIZE]
    }

    /// Announces a read of a stream.
    pub(crate) fn announce(&mut self, stream: u32, expected: Expected) {
        self.mark = self.mark.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let mark = self.mark.to_le_bytes();
        let (kind, length) = match expected {
            Expected::Exact(length) => {
                let end = &mut self.input()[length.saturating_sub(MARK_LEN)..length];
                let short = end.len();
                end.copy_from_slice(&mark[..short]);
                (1, length)
            }
            Expected::AtMost(length) => {
                self.input()[..length].chunks_mut(MARK_LEN).for_each(|part| {
                    let short = part.len();
                    part.copy_from_slice(&mark[..short]);
                });
                (2, length)
            }
        };
        let memory = &self.memory;
        memory.store(MARK, self.mark);
        memory.store(EXPECTED, to_word(length));
        memory.store(KIND, kind << 32 | u64::from(stream));
        memory.store(UNDER_WAY, memory.load(DONE) + 1);
    }

    /// So many bytes of the stream were read (0: its tail is flushed) and get this stamp; the log is of this size.
    pub(crate) fn got(&mut self, stream: u32, count: usize, stamp: &[u8; STAMP_LEN], base: u64) {
        let memory = &self.memory;
        for (number, part) in (STAMP..).zip(stamp.chunks(size_of::<u64>())) {
            let mut word = [0; size_of::<u64>()];
            word[..part.len()].copy_from_slice(part);
            memory.store(number, u64::from_le_bytes(word));
        }
        memory.store(COUNT, to_word(count));
        memory.store(BASE, base);
        memory.store(KIND, 3 << 32 | u64::from(stream));
        // A flush was not announced.
        memory.store(UNDER_WAY, memory.load(DONE) + 1);
    }

    /// The records are in the log, or counted as lost; this is what the splitters carry now.
    pub(crate) fn done(&mut self, tails: [&[u8]; 2], losses: Losses) {
        let next = self.memory.load(DONE) + 1;
        let place = place(next);
        for (stream, tail) in tails.into_iter().enumerate() {
            let at = tail_at(stream, place);
            self.memory.bytes()[at..at + tail.len()].copy_from_slice(tail);
            self.memory.store(LEFT[place] + stream, to_word(tail.len()));
        }
        self.memory.store(LEFT[place] + 2, losses.lost);
        self.memory.store(LEFT[place] + 3, losses.unmarked);
        self.memory.store(DONE, next);
        self.memory.store(UNDER_WAY, next);
    }

    /// The read came to nothing: no byte was there.
    pub(crate) fn nothing(&self) {
        self.memory.store(UNDER_WAY, self.memory.load(DONE));
    }

    /// What the splitters carried when the last read was done.
    pub(crate) fn tails(&mut self) -> [Vec<u8>; 2] {
        let place = place(self.memory.load(DONE));
        [0, 1].map(|stream| {
            let length = from_word(self.memory.load(LEFT[place] + stream)).min(PIECE_MAX);
            let at = tail_at(stream, place);
            self.memory.bytes()[at..at + length].to_vec()
        })
    }

    /// What was lost by then.
    pub(crate) fn losses(&self) -> Losses {
        let place = place(self.memory.load(DONE));
        let word = |number| self.memory.load(LEFT[place] + number);
        Losses { lost: word(2), unmarked: word(3) }
    }

    /// What was under way.
    pub(crate) fn pending(&mut self) -> Option<Pending> {
        let load = |number| self.memory.load(number);
        if load(UNDER_WAY) == load(DONE) {
            return None;
        }
        let stream = u32::try_from(load(KIND) & u64::from(u32::MAX)).unwrap_or(0);
        let mark = load(MARK).to_le_bytes();
        let expected = from_word(load(EXPECTED)).min(READ_SIZE);
        match load(KIND) >> 32 {
            1 => {
                let end = &self.input()[expected.saturating_sub(MARK_LEN)..expected];
                let is_there = *end == mark[..end.len()];
                let count = match (is_there, expected >= MARK_LEN) {
                    (false, _) => Some(expected),
                    (true, true) => Some(0),
                    // A few bytes may be as the mark by chance.
                    (true, false) => None,
                };
                Some(Pending::Read(stream, count))
            }
            2 => {
                let input = &self.input()[..expected];
                // Up to the last byte that is not the mark's any more.
                let touched = input.chunks(MARK_LEN).rposition(|part| *part != mark[..part.len()]);
                let count = touched.map_or(0, |number| {
                    let part = input.chunks(MARK_LEN).nth(number).unwrap_or_default();
                    let kept = part.iter().zip(&mark).rev().take_while(|(a, b)| a == b).count();
                    number * MARK_LEN + part.len() - kept
                });
                Some(Pending::Read(stream, Some(count)))
            }
            _ => {
                let mut stamp = [0; STAMP_LEN];
                for (part, number) in stamp.chunks_mut(size_of::<u64>()).zip(STAMP..) {
                    let short = part.len();
                    part.copy_from_slice(&load(number).to_le_bytes()[..short]);
                }
                Some(Pending::Written(stream, from_word(load(COUNT)).min(READ_SIZE), stamp, load(BASE)))
            }
        }
    }

    /// Remembers the order, once.
    pub(crate) fn remember_order(&self, order: &[u8]) -> Result<(), Fault> {
        if order.len() > FRAME_MAX {
            return Err(Fault::new("the order is too long to be remembered"));
        }
        self.memory.write_at(order, ORDER_AT).because(|| "the order cannot be remembered".into())?;
        self.memory.store(ORDER, to_word(order.len()));
        Ok(())
    }

    /// The order. Empty: none was given.
    pub(crate) fn order(&self) -> Result<Vec<u8>, Fault> {
        let length = from_word(self.memory.load(ORDER)).min(FRAME_MAX);
        self.memory.read_at(length, ORDER_AT).because(|| "the order cannot be read".into())
    }

    /// Remembers a state in place of the last one, whole or not at all.
    pub(crate) fn remember(&self, state: &[u8]) -> Result<(), Fault> {
        if state.len() > STATE_MAX {
            return Err(Fault::new("the state is too long to be remembered"));
        }
        let next = self.memory.load(STATE) + 1;
        let place = place(next);
        let written = self.memory.write_at(state, state_at(place, state.len()));
        written.because(|| "the state cannot be remembered".into())?;
        self.memory.store(STATE_LEN[place], to_word(state.len()));
        self.memory.store(STATE, next);
        Ok(())
    }

    /// The state that was remembered last.
    pub(crate) fn remembered(&self) -> Result<Vec<u8>, Fault> {
        let place = place(self.memory.load(STATE));
        let length = from_word(self.memory.load(STATE_LEN[place])).min(STATE_MAX);
        let read = self.memory.read_at(length, state_at(place, length));
        read.because(|| "the state cannot be read".into())
    }

    /// Gives memory back. No read is under way and no tail is carried.
    pub(crate) fn release(&mut self) {
        self.memory.release();
    }
}

fn place(sequence: u64) -> usize {
    usize::from(sequence % 2 == 1)
}

fn state_at(place: usize, length: usize) -> usize {
    if length <= SMALL_STATE_MAX {
        return SMALL_STATES + place * SMALL_STATE_MAX;
    }
    STATES + place * STATE_MAX
}

fn tail_at(stream: usize, place: usize) -> usize {
    TAILS + (stream * 2 + place) * PIECE_MAX
}

fn to_word(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn from_word(word: u64) -> usize {
    usize::try_from(word).unwrap_or(usize::MAX)
}

/// Where the marks begin: the kernel's own random bytes for this process.
fn seed() -> u64 {
    let mut bytes = [0; MARK_LEN];
    crate::sys::random(&mut bytes);
    u64::from_le_bytes(bytes) | 1
}

#[cfg(test)]
mod tests;
