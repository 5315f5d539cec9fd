//! Bounds that both sides of the wire keep to, each with its reason.
//!
//! Never: a bound that only one side needs.

/// Longest text of a runtime's failure that is carried, in bytes. Enough for a Go error chain and a panic's
/// first frames, little enough that a thousand exit records do not matter.
pub const MESSAGE_MAX: usize = 4096;

/// Most descriptors that one message may bring: stdin, stdout, stderr and the outcome.
pub const DESCRIPTORS_MAX: usize = 4;

/// Longest id in bytes. Ours are 64 hexadecimal digits; exec ids are shorter.
pub const ID_MAX: usize = 64;

/// Largest record in bytes, so that reading one is bounded whatever stands in the file.
pub const RECORD_MAX: usize = MESSAGE_MAX * 4 + 1024;
