//! The values as they were given, each with its source: a flat map of dotted keys.
//!
//! Owns: precedence (later wins). Never: what a key means.

use std::{collections::BTreeMap, fmt, path::PathBuf};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Built in.
    Default,
    /// A line of a file.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// `--set`, or a flag of its own.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value and its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// All our values are texts.
    pub value: String,
    /// Where it comes from.
    pub source: Source,
}

/// All settings by dotted key.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    map: BTreeMap<String, Setting>,
}

impl Settings {
    /// Sets a value; the last one wins.
    pub fn set(&mut self, key: &str, value: impl Into<String>, source: Source) {
        self.map.insert(key.to_owned(), Setting { value: value.into(), source });
    }

    /// Sets a value unless something has set it.
    pub fn set_default(&mut self, key: &str, value: impl Into<String>) {
        if !self.map.contains_key(key) {
            self.set(key, value, Source::Default);
        }
    }

    /// A value.
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.map.get(key)
    }

    /// All of them, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.map.iter().map(|(key, setting)| (key.as_str(), setting))
    }

    /// Where a key's value stands, for an error: `source:key`.
    pub fn place(&self, key: &str) -> String {
        match self.get(key) {
            Some(setting) => format!("{}:{key}", setting.source),
            None => key.to_owned(),
        }
    }
}
