//! What a living shim says of itself in its run directory, for a daemon that cannot reach it and for people.
//!
//! Written by the shim alone, at each change of phase. Owns: the format. Never: the file.

use crate::record::{BadRecord, Reader, Writer};

const KIND: &str = "taffrail-status";
const VERSION: u32 = 1;

/// The status record of one shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusRecord {
    /// The shim's process id. True only while the run directory's lock is held.
    pub shim_pid: i32,
    /// The init process's id; 0: none yet.
    pub init_pid: i32,
    /// When create succeeded, in nanoseconds since the epoch; 0: not yet.
    pub created_at: i64,
    /// When start succeeded; 0: not yet.
    pub started_at: i64,
    /// How many times the shim's program was replaced.
    pub generation: u32,
}

impl StatusRecord {
    /// The text of the record.
    pub fn encode(&self) -> Vec<u8> {
        Writer::new(KIND, VERSION)
            .field("shim_pid", self.shim_pid)
            .field("init_pid", self.init_pid)
            .field("created_at", self.created_at)
            .field("started_at", self.started_at)
            .field("generation", self.generation)
            .finish()
    }

    /// Reads a record's text.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let reader = Reader::parse(bytes, KIND, VERSION)?;
        Ok(Self {
            shim_pid: reader.number("shim_pid")?,
            init_pid: reader.number("init_pid")?,
            created_at: reader.number("created_at")?,
            started_at: reader.number("started_at")?,
            generation: reader.number("generation")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::StatusRecord;

    fn record() -> StatusRecord {
        StatusRecord { shim_pid: 7, init_pid: 9, created_at: 1, started_at: 2, generation: 3 }
    }

    #[test]
    fn the_bytes_of_version_1_are_read() {
        let bytes = include_bytes!("../testdata/v1/status");
        assert_eq!(StatusRecord::decode(bytes).unwrap(), record());
        assert_eq!(record().encode(), bytes);
    }
}
