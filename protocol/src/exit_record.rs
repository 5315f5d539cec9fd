//! How a container ended: the one fact that must never be lost nor invented.
//!
//! Written by the shim while it holds the run directory's lock, else by the daemon after it has taken that
//! lock. It survives the shim, the daemon and a reboot. Owns: the format. Never: the file.

use std::fmt;

use crate::{
    limits::MESSAGE_MAX,
    record::{BadRecord, Reader, Writer},
};

const KIND: &str = "taffrail-exit";
const VERSION: u32 = 1;

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitStatus {
    /// The init process ended by itself with this code, 0 to 255.
    Exited(u8),
    /// This signal ended it.
    Signaled(u8),
    /// The runtime could not create or start it; the message says why.
    StartFailed,
    /// It was stopped before it was ever started.
    NeverStarted,
    /// Nobody saw its end: the shim was killed, or the host was restarted. The message says which.
    Lost,
}

/// The exit record of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitRecord {
    /// How it ended.
    pub status: ExitStatus,
    /// When, in nanoseconds since the epoch.
    pub at: i64,
    /// When its program was started, in nanoseconds since the epoch; 0: never.
    pub started_at: i64,
    /// Processes of it that the kernel killed for want of memory.
    pub oom_kills: u32,
    /// Why, for people; empty where the status says it all. At most [`MESSAGE_MAX`] bytes.
    pub message: String,
}

impl ExitRecord {
    /// The text of the record.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, code) = match self.status {
            ExitStatus::Exited(code) => ("exited", code),
            ExitStatus::Signaled(signal) => ("signaled", signal),
            ExitStatus::StartFailed => ("start-failed", 0),
            ExitStatus::NeverStarted => ("never-started", 0),
            ExitStatus::Lost => ("lost", 0),
        };
        Writer::new(KIND, VERSION)
            .field("kind", kind)
            .field("code", code)
            .field("at", self.at)
            .field("started_at", self.started_at)
            .field("oom_kills", self.oom_kills)
            .field("message", cut(&self.message))
            .finish()
    }

    /// Reads a record's text.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let reader = Reader::parse(bytes, KIND, VERSION)?;
        let code: u8 = reader.number("code")?;
        let status = match reader.text("kind")?.as_str() {
            "exited" => ExitStatus::Exited(code),
            "signaled" => ExitStatus::Signaled(code),
            "start-failed" => ExitStatus::StartFailed,
            "never-started" => ExitStatus::NeverStarted,
            "lost" => ExitStatus::Lost,
            _ => return Err(BadRecord::Field("kind")),
        };
        Ok(Self {
            status,
            at: reader.number("at")?,
            started_at: reader.number("started_at")?,
            oom_kills: reader.number("oom_kills")?,
            message: reader.text("message")?,
        })
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signaled(signal) => write!(f, "signal {signal}"),
            Self::StartFailed => f.write_str("failed to start"),
            Self::NeverStarted => f.write_str("never started"),
            Self::Lost => f.write_str("lost"),
        }
    }
}

/// The text cut to [`MESSAGE_MAX`] bytes at a character.
pub fn cut(text: &str) -> &str {
    if text.len() <= MESSAGE_MAX {
        return text;
    }
    let mut end = MESSAGE_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::{ExitRecord, ExitStatus};

    fn record(status: ExitStatus) -> ExitRecord {
        ExitRecord { status, at: 5, started_at: 3, oom_kills: 1, message: "line one\nline two \\ é".into() }
    }

    #[test]
    fn every_status_comes_back() {
        for status in [
            ExitStatus::Exited(255),
            ExitStatus::Signaled(9),
            ExitStatus::StartFailed,
            ExitStatus::NeverStarted,
            ExitStatus::Lost,
        ] {
            let record = record(status);
            assert_eq!(ExitRecord::decode(&record.encode()).unwrap(), record);
        }
    }

    /// These bytes were written by version 1 and must be read for ever.
    #[test]
    fn the_bytes_of_version_1_are_read() {
        let bytes = include_bytes!("../testdata/v1/exit");
        let read = ExitRecord::decode(bytes).unwrap();
        assert_eq!(read, record(ExitStatus::Exited(9)));
        assert_eq!(read.encode(), bytes);
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let mut bytes = record(ExitStatus::Exited(0)).encode();
        bytes[30] ^= 1;
        assert!(ExitRecord::decode(&bytes).is_err());
    }
}
