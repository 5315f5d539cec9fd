//! Reads a tar archive entry by entry, with a bound on everything a header can ask for.
//!
//! Owns: blocks, checksums, long names, extended headers. Never: touches the file system. The `tar` crate
//! decodes the fields of a header; its own reader takes names of any length, so it is not used.

mod member;
mod pax;

use std::io::{self, Read};

use member::{LongNames, size};
pub(super) use member::{Member, MemberKind};
use pax::Pax;

use crate::image::{
    limits::{BUFFER, TAR_HEADER_MAX},
    unpack::UnpackError,
};

/// A tar archive is made of blocks of this many bytes.
const BLOCK: usize = 512;

/// A reader that can pass over bytes.
pub(super) trait Skip: Read {
    /// Passes over `length` bytes; fewer are an error.
    fn skip(&mut self, length: u64) -> io::Result<()> {
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(BUFFER).min(BUFFER)];
        let mut left = length;
        while left > 0 {
            let piece = usize::try_from(left).unwrap_or(BUFFER).min(buffer.len());
            self.read_exact(&mut buffer[..piece])?;
            left -= piece as u64;
        }
        Ok(())
    }
}

/// An archive being read.
#[derive(Debug)]
pub(super) struct TarStream<R> {
    source: R,
    /// Bytes taken from the source.
    position: u64,
    /// Data of the current entry that is not read yet, and the filling up to a whole block.
    left: u64,
    filling: u64,
}

impl<R: Skip> TarStream<R> {
    /// Reads from the beginning of an archive.
    pub(super) fn new(source: R) -> Self {
        Self { source, position: 0, left: 0, filling: 0 }
    }

    /// The next entry; what is left of the last one is passed over. `None`: the end.
    pub(super) fn next_member(&mut self) -> Result<Option<Member>, UnpackError> {
        let (mut pax, mut long, mut header_bytes) = (Pax::default(), LongNames::default(), 0_u64);
        loop {
            self.pass(self.left.saturating_add(self.filling))?;
            let start = self.position;
            let wrong = |why: String| UnpackError::Header { offset: start, why };
            let Some(header) = self.header()? else { return Ok(None) };
            let letter = header.entry_type().as_byte();
            if matches!(letter, b'L' | b'K' | b'x' | b'g') {
                let size = size(&header).map_err(wrong)?;
                header_bytes = header_bytes.saturating_add(size);
                if header_bytes > TAR_HEADER_MAX {
                    return Err(UnpackError::Bound {
                        what: "bytes of one entry's headers",
                        max: TAR_HEADER_MAX,
                    });
                }
                self.expect(size);
                let mut bytes = Vec::new();
                self.read_data(&mut bytes)?;
                match letter {
                    b'L' => long.path = Some(until_zero(bytes)),
                    b'K' => long.link = Some(until_zero(bytes)),
                    b'x' => pax.add(&bytes).map_err(wrong)?,
                    // Headers for the whole archive hold comments; no reader of layers heeds them.
                    _ => {}
                }
                continue;
            }
            let member = Member::new(&header, pax, long, self.position).map_err(wrong)?;
            if i64::try_from(member.size).is_err() {
                return Err(wrong("the size is out of range".to_owned()));
            }
            self.expect(member.size);
            return Ok(Some(member));
        }
    }

    /// Reads some of the current entry's data; 0: no more.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, UnpackError> {
        let want = usize::try_from(self.left).unwrap_or(buffer.len()).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let length = loop {
            match self.source.read(&mut buffer[..want]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(|e| self.failed(e))?,
            }
        };
        if length == 0 {
            return Err(UnpackError::Cut { offset: self.position });
        }
        self.left -= length as u64;
        self.position += length as u64;
        Ok(length)
    }

    fn read_data(&mut self, bytes: &mut Vec<u8>) -> Result<(), UnpackError> {
        let mut block = [0; BLOCK];
        loop {
            let length = self.read(&mut block)?;
            if length == 0 {
                return Ok(());
            }
            bytes.extend_from_slice(&block[..length]);
        }
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.filling = size.wrapping_neg() % BLOCK as u64;
    }

    fn pass(&mut self, length: u64) -> Result<(), UnpackError> {
        if length > 0 {
            self.source.skip(length).map_err(|e| self.failed(e))?;
        }
        self.position += length;
        (self.left, self.filling) = (0, 0);
        Ok(())
    }

    /// The next header block; `None`: the archive ends, by two blocks of zeros or by its file's end.
    fn header(&mut self) -> Result<Option<tar::Header>, UnpackError> {
        let start = self.position;
        let Some(block) = self.block()? else { return Ok(None) };
        if block.iter().all(|b| *b == 0) {
            return match self.block()? {
                Some(second) if second.iter().any(|b| *b != 0) => {
                    Err(UnpackError::Header { offset: start, why: "a single block of zeros".to_owned() })
                }
                _ => Ok(None),
            };
        }
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(&block);
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, b)| if (148..156).contains(&at) { 32 } else { u32::from(*b) })
            .sum();
        match header.cksum() {
            Ok(stated) if stated == sum => Ok(Some(header)),
            _ => Err(UnpackError::Header { offset: start, why: "the checksum is wrong".to_owned() }),
        }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, UnpackError> {
        let mut block = [0; BLOCK];
        let mut have = 0;
        while have < block.len() {
            match self.source.read(&mut block[have..]) {
                Ok(0) if have == 0 => return Ok(None),
                Ok(0) => return Err(UnpackError::Cut { offset: self.position }),
                Ok(length) => {
                    have += length;
                    self.position += length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(Some(block))
    }

    fn failed(&self, source: io::Error) -> UnpackError {
        match source.downcast::<UnpackError>() {
            Ok(ours) => ours,
            Err(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
                UnpackError::Cut { offset: self.position }
            }
            Err(source) => UnpackError::Read { offset: self.position, source },
        }
    }
}

fn until_zero(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|b| *b == 0) {
        bytes.truncate(end);
    }
    bytes
}
