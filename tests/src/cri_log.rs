//! Reads a container's log as the kubelet does: `<time> <stream> <tag> <content>` lines. An obvious reader of its
//! own, so that it shares no mistake with the writer.
//!
//! Never: forgives a line that is not in the format.

use std::{fs, path::Path};

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Nanoseconds since the epoch.
    pub time: i64,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// Whether the application's line ends here.
    pub full: bool,
    /// What was written.
    pub content: Vec<u8>,
}

/// All records of a log. A last line without its line feed is not taken.
pub fn read(path: &Path) -> Vec<Record> {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    parse(&bytes)
}

/// All records of a log's bytes.
pub fn parse(bytes: &[u8]) -> Vec<Record> {
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let lines = bytes[..whole].split_inclusive(|&byte| byte == b'\n');
    lines
        .map(|line| {
            let line = &line[..line.len() - 1];
            record(line).unwrap_or_else(|| panic!("no record: {:?}", String::from_utf8_lossy(line)))
        })
        .collect()
}

fn record(line: &[u8]) -> Option<Record> {
    let mut parts = line.splitn(4, |&byte| byte == b' ');
    let time = nanoseconds(std::str::from_utf8(parts.next()?).ok()?)?;
    let stream = String::from_utf8(parts.next()?.to_vec()).ok().filter(|s| s == "stdout" || s == "stderr")?;
    let full = match parts.next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Record { time, stream, full, content: parts.next()?.to_vec() })
}

/// `2026-01-02T03:04:05.000000006Z` in nanoseconds since the epoch. UTC and nine digits are what we promise.
fn nanoseconds(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    let (time, fraction) = time.split_once('.')?;
    if fraction.len() != 9 {
        return None;
    }
    let numbers = |text: &str, by: char| -> Option<Vec<i64>> {
        let parts: Result<Vec<i64>, _> = text.split(by).map(str::parse).collect();
        parts.ok().filter(|parts| parts.len() == 3)
    };
    let (date, time) = (numbers(date, '-')?, numbers(time, ':')?);
    let seconds = days(date[0], date[1], date[2]) * 86_400 + time[0] * 3600 + time[1] * 60 + time[2];
    Some(seconds * 1_000_000_000 + fraction.parse::<i64>().ok()?)
}

/// Days since the epoch, counted the slow way.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = |month: i64| match month {
        2 => 28 + i64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let years: i64 = (1970..year).map(|year| 365 + i64::from(leap(year))).sum();
    years + (1..month).map(length).sum::<i64>() + day - 1
}

/// The application's lines of one stream: partial records joined.
pub fn lines(records: &[Record], stream: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = Vec::new();
    for record in records.iter().filter(|record| record.stream == stream) {
        open.extend_from_slice(&record.content);
        if record.full {
            lines.push(String::from_utf8_lossy(&open).into_owned());
            open.clear();
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{lines, nanoseconds, parse};

    #[test]
    fn times_are_read() {
        assert_eq!(nanoseconds("1970-01-01T00:00:00.000000000Z"), Some(0));
        assert_eq!(nanoseconds("2026-11-25T00:32:46.000000001Z"), Some(1_795_566_766_000_000_001));
        assert_eq!(nanoseconds("2026-11-25T00:32:46.1Z"), None);
    }

    #[test]
    fn partial_records_are_joined_and_a_cut_line_is_left() {
        let log = b"1970-01-01T00:00:00.000000000Z stdout P a\n1970-01-01T00:00:00.000000000Z stdout F b\n19";
        assert_eq!(lines(&parse(log), "stdout"), ["ab"]);
    }
}
