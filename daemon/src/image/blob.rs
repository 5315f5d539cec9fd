//! A blob as a stream: a section of a file, hashed while it is read, decompressed by what its first bytes say.
//!
//! Owns: hashing, decompression and the bound on what comes out. Never: trusts a media type about compression.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::FileExt,
    sync::Arc,
};

use flate2::bufread::MultiGzDecoder;

use crate::image::{
    Digest,
    digest::Hasher,
    limits::{BUFFER, ZSTD_WINDOW_LOG},
    tar_stream::Skip,
    unpack::UnpackError,
};

/// A part of a file, read at places of its own: several may read one file at once.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) file: Arc<File>,
    pub(super) at: u64,
    pub(super) end: u64,
}

impl Section {
    /// Bytes that are left.
    pub(super) fn len(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.len()).unwrap_or(buffer.len()).min(buffer.len());
        let length = self.file.read_at(&mut buffer[..want], self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

impl Skip for Section {
    fn skip(&mut self, length: u64) -> io::Result<()> {
        if length > self.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += length;
        Ok(())
    }
}

/// Hashes what passes, tells how much, and stops at a bound.
pub(super) struct Hashing<'a, R> {
    inner: R,
    hasher: Hasher,
    bytes: u64,
    max: u64,
    tell: &'a dyn Fn(u64),
}

impl<R> fmt::Debug for Hashing<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashing").field("bytes", &self.bytes).field("max", &self.max).finish_non_exhaustive()
    }
}

impl<'a, R: Read> Hashing<'a, R> {
    /// At most `max` bytes pass; `tell` gets the length of each piece.
    pub(super) fn new(inner: R, max: u64, tell: &'a dyn Fn(u64)) -> Self {
        Self { inner, hasher: Hasher::default(), bytes: 0, max, tell }
    }

    /// Reads what is left and returns the digest of all, and what was read from.
    pub(super) fn finish(mut self) -> io::Result<(Digest, R)> {
        let mut buffer = vec![0; BUFFER];
        while self.read(&mut buffer)? > 0 {}
        Ok((self.hasher.finish(), self.inner))
    }
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.bytes += length as u64;
        if self.bytes > self.max {
            let bound = UnpackError::Bound { what: "bytes, unpacked", max: self.max };
            return Err(io::Error::other(bound));
        }
        self.hasher.update(&buffer[..length]);
        (self.tell)(length as u64);
        Ok(length)
    }
}

impl<R: Read> Skip for Hashing<'_, R> {}

impl<R: Read> Skip for BufReader<R> {}

/// Decompresses gzip and zstd, or passes plain bytes.
pub(super) enum Decoder<R: BufRead> {
    Plain(R),
    Gzip(Box<MultiGzDecoder<R>>),
    Zstd(zstd::stream::read::Decoder<'static, R>),
}

impl<R: BufRead> fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}

impl<R: BufRead> Decoder<R> {
    /// Chooses by the first bytes.
    pub(super) fn new(mut source: R) -> Result<Self, UnpackError> {
        let failed = |source| UnpackError::Read { offset: 0, source };
        let magic = source.fill_buf().map_err(failed)?;
        Ok(match magic {
            [0x1f, 0x8b, ..] => Self::Gzip(Box::new(MultiGzDecoder::new(source))),
            // A frame, or one to be skipped: archives that can be read in pieces begin with such.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source).map_err(failed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(failed)?;
                Self::Zstd(decoder)
            }
            [0xfd, b'7', b'z', b'X', b'Z', ..] => return Err(UnpackError::Compression("xz")),
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..] => {
                return Err(UnpackError::Compression("bzip2"));
            }
            [0x04, 0x22, 0x4d, 0x18, ..] => return Err(UnpackError::Compression("lz4")),
            _ => Self::Plain(source),
        })
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(source) => source.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}
