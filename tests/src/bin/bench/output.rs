//! The table, as markdown on stdout; notes on stderr.
//!
//! Never: a figure of its own.

use std::io::Write;

use crate::median::Values;

/// Rows: what, ours, the peer's name and figure.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<[String; 4]>);

/// Below this a second decimal says something.
const SMALL: f64 = 10.0;

fn show(values: Option<&Values>) -> String {
    match values.and_then(Values::spread) {
        Some((median, low, high)) if median < SMALL => format!("{median:.2} ({low:.2} to {high:.2})"),
        Some((median, low, high)) => format!("{median:.1} ({low:.1} to {high:.1})"),
        None => "-".to_owned(),
    }
}

impl Table {
    /// A row of medians. `peer` is its name and its values.
    pub(crate) fn row(&mut self, what: &str, ours: &Values, peer: Option<(&str, &Values)>) {
        let ratio = match (ours.median(), peer.and_then(|(_, values)| values.median())) {
            (Some(ours), Some(theirs)) if theirs > 0.0 => format!("{:.2}", ours / theirs),
            _ => "-".to_owned(),
        };
        let theirs = match peer {
            Some((name, values)) => format!("{name}: {}", show(Some(values))),
            None => "-".to_owned(),
        };
        self.0.push([what.to_owned(), show(Some(ours)), theirs, ratio]);
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text =
            "| what, median (p10 to p90) | taffrail | peer | ratio |\n| --- | --- | --- | --- |\n".to_owned();
        for [what, ours, peer, ratio] in &self.0 {
            text.push_str(&format!("| {what} | {ours} | {peer} | {ratio} |\n"));
        }
        text
    }
}

/// Says on stderr what goes on.
pub(crate) fn note(text: &str) {
    writeln!(std::io::stderr().lock(), "bench: {text}").ok();
}

/// Prints the result.
pub(crate) fn print(text: &str) {
    writeln!(std::io::stdout().lock(), "{text}").ok();
}
