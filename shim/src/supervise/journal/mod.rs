//! What a shim writes down for its successor, in memory that the keeper holds too: the order it was given, how far
//! the container's life is, and, for each read of the container's output, what was read and how far its records are
//! written.
//!
//! A read goes: it is announced, into room that is full of a mark; what comes overwrites it; the number of bytes, their
//! stamp and the log's size are noted; their records are appended to the log; the splitters' tails are noted, and with
//! that the read is done. A successor finds out from this where its predecessor was killed, and writes what is missing,
//! once.
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
const READ: u64 = 1;
const WRITTEN: u64 = 2;
const ROOM: usize = 11;
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

/// Bytes that no text in UTF-8 has: where text ends, the mark is never taken for a part of it. Of other output, the last
/// bytes that came before a kill may be as the mark's by chance, one in 256, and are then missing.
const NO_TEXT: [u8; 13] = [0xc0, 0xc1, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff];

/// The mark's length.
const MARK_LEN: usize = size_of::<u64>();

/// What was under way when a predecessor was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pending {
    /// A read of this stream, of which so many bytes have come.
    Read(u32, usize),
    /// Records of so many read bytes (0: of the tail alone), with this stamp, into a log of this size.
    Written(u32, usize, [u8; STAMP_LEN], u64),
}

/// The journal.
#[derive(Debug)]
pub(crate) struct Journal {
    memory: SharedMemory,
    /// What a container cannot know.
    mark: [u8; MARK_LEN],
    /// So many bytes of the room for input have been marked, but for those that a read has overwritten since.
    marked: usize,
    overwritten: usize,
}

impl Journal {
    /// An empty one.
    pub(crate) fn new() -> Result<Self, Fault> {
        let memory = SharedMemory::new(SIZE, MAPPED).because(|| "no memory for the journal".into())?;
        memory.store(VERSION, LAYOUT);
        Ok(Self::over(memory))
    }

    /// A predecessor's.
    pub(crate) fn take_over(fd: OwnedFd) -> Result<Self, Fault> {
        let memory = SharedMemory::of(fd, SIZE, MAPPED).because(|| "the journal cannot be read".into())?;
        if memory.load(VERSION) != LAYOUT {
            return Err(Fault::new("the journal has another layout"));
        }
        Ok(Self::over(memory))
    }

    fn over(memory: SharedMemory) -> Self {
        let mut mark = [0; MARK_LEN];
        crate::sys::random(&mut mark);
        let mark = mark.map(|random| NO_TEXT[usize::from(random) % NO_TEXT.len()]);
        Self { memory, mark, marked: 0, overwritten: 0 }
    }

    /// The memory, to be held.
    pub(crate) fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// Room for what is read.
    pub(crate) fn input(&mut self) -> &mut [u8] {
        &mut self.memory.bytes()[..READ_SIZE]
    }

    /// Announces a read of a stream, of at most so many bytes: a multiple of the mark's length.
    pub(crate) fn announce(&mut self, stream: u32, room: usize) {
        let mark = self.mark;
        let (overwritten, marked) = (self.overwritten.next_multiple_of(MARK_LEN), self.marked);
        let input = self.input();
        for part in [0..overwritten.min(room), marked.min(room)..room] {
            input[part].chunks_exact_mut(MARK_LEN).for_each(|part| part.copy_from_slice(&mark));
        }
        // What was overwritten beyond this read's room is marked when a read has that room.
        self.marked = if overwritten > room { room } else { self.marked.max(room) };
        self.overwritten = 0;
        let memory = &self.memory;
        memory.store(MARK, u64::from_le_bytes(mark));
        memory.store(ROOM, to_word(room));
        memory.store(KIND, READ << 32 | u64::from(stream));
        memory.store(UNDER_WAY, memory.load(DONE) + 1);
    }

    /// So many bytes of the stream were read (0: its tail is flushed) and get this stamp; the log is of this size.
    pub(crate) fn got(&mut self, stream: u32, count: usize, stamp: &[u8; STAMP_LEN], base: u64) {
        self.overwritten = self.overwritten.max(count);
        let memory = &self.memory;
        for (number, part) in (STAMP..).zip(stamp.chunks(size_of::<u64>())) {
            let mut word = [0; size_of::<u64>()];
            word[..part.len()].copy_from_slice(part);
            memory.store(number, u64::from_le_bytes(word));
        }
        memory.store(COUNT, to_word(count));
        memory.store(BASE, base);
        memory.store(KIND, WRITTEN << 32 | u64::from(stream));
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

    /// So many bytes were read that go nowhere.
    pub(crate) fn discard(&mut self, count: usize) {
        self.overwritten = self.overwritten.max(count);
        self.nothing();
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
        let room = from_word(load(ROOM)).min(READ_SIZE);
        if load(KIND) >> 32 == READ {
            // Up to the last byte that is not the mark's any more.
            let mut parts = self.input()[..room].chunks_exact(MARK_LEN);
            let count = parts.by_ref().rposition(|part| *part != mark).map_or(0, |number| {
                let part = &self.input()[number * MARK_LEN..][..MARK_LEN];
                let kept = part.iter().zip(&mark).rev().take_while(|(a, b)| a == b).count();
                number * MARK_LEN + MARK_LEN - kept
            });
            return Some(Pending::Read(stream, count));
        }
        let mut stamp = [0; STAMP_LEN];
        for (part, number) in stamp.chunks_mut(size_of::<u64>()).zip(STAMP..) {
            let short = part.len();
            part.copy_from_slice(&load(number).to_le_bytes()[..short]);
        }
        Some(Pending::Written(stream, from_word(load(COUNT)).min(READ_SIZE), stamp, load(BASE)))
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
        (self.marked, self.overwritten) = (0, 0);
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

#[cfg(test)]
mod tests;
