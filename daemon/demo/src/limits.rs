//! Every size and code of the demo program, each with its reason.
//!
//! Never: a value that a caller gives on the command line.

use std::time::Duration;

/// Exit code of a command that failed.
pub(crate) const FAILED: u8 = 1;
/// Exit code of an unknown command or a bad argument; distinct, so that a test sees its own mistake.
pub(crate) const WRONG_USAGE: u8 = 2;
/// Length of a flood's line with its line feed: the size at which log paths are compared.
pub(crate) const FLOOD_LINE: usize = 100;
/// What a flood collects before it writes: the size of a pipe, so that each write can fill one.
pub(crate) const FLOOD_BUFFER: usize = 64 * 1024;
/// Between two writes of a steady stream: short beside a person's patience, long beside a write.
pub(crate) const POUR_PAUSE: Duration = Duration::from_millis(5);
/// Page size, or less than it: one byte in each stride is touched to make memory real.
pub(crate) const TOUCH_STRIDE: usize = 4096;
/// Children that `tree` leaves: more than one, so that killing the first is not enough.
pub(crate) const TREE_CHILDREN: usize = 3;
/// How long the other side of a connection may say nothing: longer than a busy machine needs.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);
/// Head of a request that is read, in bytes: no client of ours sends as much.
pub(crate) const HEAD_MAX: u64 = 16 * 1024;
/// Page that is read, in bytes.
pub(crate) const PAGE_MAX: u64 = 64 * 1024;
/// Longest datagram that is read, in bytes.
pub(crate) const DATAGRAM_MAX: usize = 2048;
