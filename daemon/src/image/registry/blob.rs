//! A blob as it comes from a registry, piece by piece; where it breaks off it is gone on with.
//!
//! Owns: resuming, stalls, and that not a byte more than promised is taken. Never: keeps what it read.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::{Response, StatusCode, header::CONTENT_RANGE};

use super::{
    error::RegistryError,
    http::words,
    limits::{HEADWAY, LAYER_TIME, RATE_BYTES, RATE_WINDOW, RESUMES, TRIES, TRIES_STALLED},
    session::{Session, Wish, back_off},
};
use crate::image::Digest;

/// One blob of one place.
#[derive(Debug)]
pub(in crate::image) struct BlobStream<'a> {
    session: &'a Session,
    at: usize,
    what: String,
    path: String,
    size: u64,
    /// Bytes given out.
    offset: u64,
    answer: Option<Response>,
    /// Bytes to be thrown away: the place does not begin in the middle.
    surplus: u64,
    resumes: u32,
    /// Breaks since the last headway, and where that was.
    breaks: u32,
    headway: u64,
    /// Time spent waiting for the place, and bytes that came in it.
    waited: Duration,
    came: u64,
}

impl Session {
    /// Will read a blob of this length.
    pub(in crate::image) fn blob(&self, at: usize, digest: &Digest, size: u64) -> BlobStream<'_> {
        BlobStream {
            session: self,
            at,
            what: format!("layer {digest}"),
            path: format!("blobs/{digest}"),
            size,
            offset: 0,
            answer: None,
            surplus: 0,
            resumes: 0,
            breaks: 0,
            headway: 0,
            waited: Duration::ZERO,
            came: 0,
        }
    }
}

impl BlobStream<'_> {
    /// The next piece; `None`: all of it has come.
    pub(in crate::image) async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            if self.offset == self.size && self.answer.is_none() {
                return Ok(None);
            }
            if self.answer.is_none() {
                self.open().await?;
            }
            let Some(answer) = &mut self.answer else { continue };
            let began = Instant::now();
            let piece = tokio::time::timeout(self.session.stall(), answer.chunk()).await;
            self.waited += began.elapsed();
            let why = match piece {
                Ok(Ok(Some(piece))) => match self.take(piece)? {
                    Some(piece) => return Ok(Some(piece)),
                    None if self.trickles() => {
                        format!("less than {} bytes came in a minute", least(self.size))
                    }
                    None => continue,
                },
                Ok(Ok(None)) if self.offset == self.size => return Ok(None),
                Ok(Ok(None)) => format!("it broke off at byte {} of {}", self.offset, self.size),
                Ok(Err(error)) => words(error),
                Err(_) => {
                    // A wait is dear: fewer of them.
                    self.breaks += TRIES - TRIES_STALLED;
                    format!("nothing came for {} s", self.session.stall().as_secs())
                }
            };
            self.broken(why).await?;
        }
    }

    /// What of a piece is new.
    fn take(&mut self, mut piece: Bytes) -> Result<Option<Bytes>, RegistryError> {
        self.came += piece.len() as u64;
        let skip = self.surplus.min(piece.len() as u64);
        self.surplus -= skip;
        drop(piece.split_to(usize::try_from(skip).unwrap_or(piece.len())));
        if piece.is_empty() || self.trickles() {
            return Ok(None);
        }
        self.offset += piece.len() as u64;
        if self.offset > self.size {
            let why = format!("it is longer than the {} bytes that the manifest says", self.size);
            return Err(self.session.answer(self.at, self.wish(), &why));
        }
        if self.offset - self.headway >= HEADWAY {
            (self.headway, self.breaks) = (self.offset, 0);
        }
        Ok(Some(piece))
    }

    fn trickles(&mut self) -> bool {
        if self.waited < RATE_WINDOW {
            return false;
        }
        let slow = self.came < least(self.size);
        if !slow {
            (self.waited, self.came) = (Duration::ZERO, 0);
        }
        slow
    }

    async fn broken(&mut self, why: String) -> Result<(), RegistryError> {
        self.answer = None;
        (self.waited, self.came, self.surplus) = (Duration::ZERO, 0, 0);
        self.resumes += 1;
        self.breaks += 1;
        if self.breaks >= TRIES || self.resumes >= RESUMES {
            let why = format!("{}: {why}, {} times", self.what, self.resumes);
            return Err(RegistryError::Unavailable { host: self.session.host(self.at).to_owned(), why });
        }
        tracing::debug!(what = self.what, why, offset = self.offset, "a blob broke off and is gone on with");
        tokio::time::sleep(back_off(self.breaks)).await;
        Ok(())
    }

    async fn open(&mut self) -> Result<(), RegistryError> {
        let wish = self.wish();
        let answer = self.session.get(self.at, wish).await?;
        if answer.status() == StatusCode::PARTIAL_CONTENT {
            let range = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
            let begin = format!("bytes {}-", self.offset);
            if !range.is_some_and(|range| range.starts_with(&begin)) {
                return Err(self.session.answer(
                    self.at,
                    wish,
                    "another part than the one that was asked for",
                ));
            }
        } else {
            if let Some(length) = answer.content_length().filter(|length| *length != self.size) {
                let why = format!("it has {length} bytes instead of {}", self.size);
                return Err(self.session.answer(self.at, wish, &why));
            }
        }
        self.surplus = if answer.status() == StatusCode::PARTIAL_CONTENT { 0 } else { self.offset };
        self.answer = Some(answer);
        Ok(())
    }

    fn wish(&self) -> Wish<'_> {
        Wish { what: &self.what, path: &self.path, accept: "*/*", from: self.offset }
    }
}

/// Bytes of a blob of this length that must come in [`RATE_WINDOW`] of waiting.
fn least(size: u64) -> u64 {
    (size / (LAYER_TIME.as_secs() / RATE_WINDOW.as_secs())).max(RATE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::{LAYER_TIME, RATE_WINDOW, least};

    #[test]
    fn at_the_least_rate_every_layer_comes_in_time() {
        for size in [1, 500 << 20, 1 << 30, 50 << 30] {
            let windows = size / least(size) + 1;
            assert!(
                windows * RATE_WINDOW.as_secs() <= LAYER_TIME.as_secs() + 2 * RATE_WINDOW.as_secs(),
                "{size}"
            );
        }
    }
}
