//! The common form of the small records on disk: lines of text that a person can read, with a version in front
//! and a checksum behind.
//!
//! ```text
//! taffrail-exit 1
//! kind=exited
//! code=9
//! crc32=0a1b2c3d
//! ```
//!
//! A value is one line; line feeds, carriage returns and backslashes in it are escaped. Unknown keys are
//! skipped, so a newer writer may add some without a new version. Owns: the form. Never: the file.

use std::fmt;

use crate::limits::RECORD_MAX;

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadRecord {
    /// Longer than any record may be.
    TooLong,
    /// No UTF-8.
    NotText,
    /// The first line names another kind of record or a version this build does not know.
    Header(String),
    /// No last line with a checksum: the file was cut.
    Truncated,
    /// The checksum does not match.
    Checksum,
    /// A key that must be there is missing or its value cannot be read.
    Field(&'static str),
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the record is longer than {RECORD_MAX} bytes"),
            Self::NotText => f.write_str("the record is not UTF-8"),
            Self::Header(found) => write!(f, "the record begins with {found:?}"),
            Self::Truncated => f.write_str("the record has no checksum line: it was cut"),
            Self::Checksum => f.write_str("the record's checksum does not match"),
            Self::Field(key) => write!(f, "the record's field {key} is missing or damaged"),
        }
    }
}

impl std::error::Error for BadRecord {}

/// Builds a record's text.
#[derive(Debug)]
pub struct Writer {
    text: String,
}

impl Writer {
    /// A record of this kind and version.
    pub fn new(kind: &str, version: u32) -> Self {
        Self { text: format!("{kind} {version}\n") }
    }

    /// Adds a line.
    pub fn field(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.text.push_str(key);
        self.text.push('=');
        for c in value.to_string().chars() {
            match c {
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\\' => self.text.push_str("\\\\"),
                c => self.text.push(c),
            }
        }
        self.text.push('\n');
        self
    }

    /// The whole text, checksum last.
    pub fn finish(mut self) -> Vec<u8> {
        let sum = crc32fast::hash(self.text.as_bytes());
        self.text.push_str(&format!("crc32={sum:08x}\n"));
        self.text.into_bytes()
    }
}

/// A record whose form and checksum have been checked.
#[derive(Debug)]
pub struct Reader<'a> {
    /// The version its writer stated.
    pub version: u32,
    body: &'a str,
}

impl<'a> Reader<'a> {
    /// Checks bytes as a record of this kind, of version 1 to `highest`.
    pub fn parse(bytes: &'a [u8], kind: &str, highest: u32) -> Result<Self, BadRecord> {
        if bytes.len() > RECORD_MAX {
            return Err(BadRecord::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| BadRecord::NotText)?;
        let (first, _) = text.split_once('\n').ok_or(BadRecord::Truncated)?;
        let bad_header = || BadRecord::Header(first.chars().take(40).collect());
        let (found, version) = first.split_once(' ').ok_or_else(bad_header)?;
        let version: u32 = version.parse().map_err(|_| bad_header())?;
        if found != kind || version == 0 || version > highest {
            return Err(bad_header());
        }
        let at = text.rfind("crc32=").ok_or(BadRecord::Truncated)?;
        let (body, sum) = text.split_at(at);
        let sum =
            sum.strip_prefix("crc32=").and_then(|s| s.strip_suffix('\n')).ok_or(BadRecord::Truncated)?;
        if sum.len() != 8 || !body.ends_with('\n') {
            return Err(BadRecord::Truncated);
        }
        let sum = u32::from_str_radix(sum, 16).map_err(|_| BadRecord::Truncated)?;
        if sum != crc32fast::hash(body.as_bytes()) {
            return Err(BadRecord::Checksum);
        }
        Ok(Self { version, body: body.split_once('\n').map_or("", |(_, rest)| rest) })
    }

    /// The value of a key, unescaped.
    pub fn text(&self, key: &'static str) -> Result<String, BadRecord> {
        let line = self.body.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
        let line = line.ok_or(BadRecord::Field(key))?;
        let mut out = String::with_capacity(line.len());
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some('n') => out.push('\n'),
                    Some('r') => out.push('\r'),
                    Some('\\') => out.push('\\'),
                    _ => return Err(BadRecord::Field(key)),
                },
                c => out.push(c),
            }
        }
        Ok(out)
    }

    /// The value of a key as a number.
    pub fn number<N: std::str::FromStr>(&self, key: &'static str) -> Result<N, BadRecord> {
        self.text(key)?.parse().map_err(|_| BadRecord::Field(key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BadRecord, Reader, Writer};

    proptest! {
        #[test]
        fn any_text_comes_back(value in ".*", number in any::<i64>()) {
            let bytes = Writer::new("k", 1).field("a", &value).field("n", number).finish();
            prop_assume!(bytes.len() <= crate::limits::RECORD_MAX);
            let reader = Reader::parse(&bytes, "k", 1).unwrap();
            prop_assert_eq!(reader.text("a").unwrap(), value);
            prop_assert_eq!(reader.number::<i64>("n").unwrap(), number);
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Reader::parse(&bytes, "k", 1).is_err());
        }
    }

    #[test]
    fn a_record_cut_at_any_byte_is_refused() {
        let bytes = Writer::new("k", 1).field("a", "crc32=00000000").field("b", 2).finish();
        for cut in 0..bytes.len() {
            assert!(Reader::parse(&bytes[..cut], "k", 1).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let bytes = Writer::new("k", 2).finish();
        assert_eq!(Reader::parse(&bytes, "k", 1).unwrap_err(), BadRecord::Header("k 2".into()));
    }
}
