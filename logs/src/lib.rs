//! A CRI log file is lines of `STAMP STREAM TAG CONTENT`: an RFC 3339 time in UTC with nanoseconds, `stdout` or
//! `stderr`, `F` where the container's line ends here or `P` where it goes on in the next record of that stream,
//! and at most 16 KiB of what was written. This crate makes such lines from bytes and appends them to a file.
//!
//! Owns: the format ([`line`], [`record`], [`timestamp`]), which does no IO, and the file ([`file`]).
//! Never: reads a pipe, looks at a clock, starts a thread.

pub mod file;
pub mod limits;
pub mod line;
pub mod record;
pub mod timestamp;

pub use file::{FileSink, Losses};
pub use line::{LineSplitter, Piece, Tag};
pub use record::{Batch, Stream};
pub use timestamp::{STAMP_LEN, Stamper};
