//! Rules 1 and 2: each file says what it is, and none is too long to be read.
//!
//! Never: looks at what a file does.

use crate::source::{all, none};

/// Past this many lines a file holds more than one concept.
const LINES_MAX: usize = 500;

#[test]
fn each_file_begins_with_what_it_is() {
    let missing = |source: &crate::source::Source| !source.text.starts_with("//!");
    let offences: Vec<String> = all().into_iter().filter(missing).map(|source| source.path).collect();
    none("a file begins with a `//!` header: what it is, what it owns, what it never does", &offences);
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let long = all().into_iter().filter_map(|source| {
        let lines = source.text.lines().count();
        (lines > LINES_MAX).then(|| format!("{}: {lines} lines", source.path))
    });
    none("300 lines look again, 500 stop", &long.collect::<Vec<_>>());
}
