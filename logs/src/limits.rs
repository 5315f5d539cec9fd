//! Every size and time of the log path, each with its reason.
//!
//! Never: a bound that is not about logs.

use std::time::Duration;

/// Longest content of one record in bytes. The kubelet and the usual agents read lines of 16 KiB and join partial
/// ones.
pub const PIECE_MAX: usize = 16 * 1024;

/// Largest record in bytes: the head, a piece, a line feed.
pub const RECORD_MAX: usize = crate::record::HEAD_LEN + PIECE_MAX + 1;

/// Bytes asked for in one read of a container's stream: the size of a pipe, so one read empties it.
pub const READ_SIZE: usize = 64 * 1024;

/// Bytes of records gathered before they are written. 64 KiB of lines of 16 bytes or more become one write; shorter
/// lines take a few.
pub const BATCH_SIZE: usize = 256 * 1024;

/// First pause after the disk refused a write: short, since a rotation often frees space at once.
pub const RETRY_FIRST: Duration = Duration::from_millis(100);

/// Longest pause between two tries on a full disk: an operator who made room sees the log go on while looking.
pub const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// Permissions of a log file: agents read it through their group, nobody else.
pub const FILE_MODE: u32 = 0o640;

const _: () = assert!(BATCH_SIZE > 2 * RECORD_MAX, "a batch must hold a record whatever is in it");
