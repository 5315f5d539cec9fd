//! Every size and code of the demo program, each with its reason.
//!
//! Never: a value that a caller gives on the command line.

/// Exit code of a command that failed.
pub(crate) const FAILED: u8 = 1;
/// Exit code of an unknown command or a bad argument; distinct, so that a test sees its own mistake.
pub(crate) const WRONG_USAGE: u8 = 2;
/// Length of a flood's line with its line feed: the size at which log paths are compared.
pub(crate) const FLOOD_LINE: usize = 100;
/// What a flood collects before it writes: the size of a pipe, so that each write can fill one.
pub(crate) const FLOOD_BUFFER: usize = 64 * 1024;
/// Page size, or less than it: one byte in each stride is touched to make memory real.
pub(crate) const TOUCH_STRIDE: usize = 4096;
/// Children that `tree` leaves: more than one, so that killing the first is not enough.
pub(crate) const TREE_CHILDREN: usize = 3;
