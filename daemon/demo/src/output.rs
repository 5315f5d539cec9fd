//! Lines to stdout and stderr whose failure is told, unlike that of `println!`, which panics.
//!
//! Never: buffers beyond a line unless it is asked for.

use std::io::{self, Write};

/// Writes one line to stdout and flushes it.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Writes one line to stderr.
pub(crate) fn error_line(text: &str) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{text}")
}
