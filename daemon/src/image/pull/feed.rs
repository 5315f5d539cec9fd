//! Between the network and the unpacker: the pieces of a blob as something that can be read.
//!
//! Never: holds more than a few pieces.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

use crate::image::limits::PULL_PIECES;

/// The reading end. A blob whose sender vanishes is cut short, which its digest shows.
#[derive(Debug)]
pub(super) struct Feed {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

/// Both ends.
pub(super) fn feed() -> (mpsc::Sender<Bytes>, Feed) {
    let (send, pieces) = mpsc::channel(PULL_PIECES);
    (send, Feed { pieces, piece: Bytes::new() })
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
