//! Where the program writes to its user: results to stdout, messages to stderr.
//!
//! Never: fails a command because nobody reads its messages.

use std::io::{self, Write};

use serde::Serialize;

use super::exit::Failure;

fn broken(error: io::Error) -> Failure {
    Failure::failed(format!("stdout cannot be written: {error}"))
}

/// A line of the result.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(broken)
}

/// The result as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string_pretty(value).map_err(Failure::failed)?)
}

/// A message.
pub(super) fn message(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// A table with a heading; columns as wide as needed.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(heading.get(column).map(|head| head.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let show = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        line(padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    show(&heading.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    rows.iter().try_for_each(|row| show(row))
}
