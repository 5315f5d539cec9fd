//! What went wrong in the static program: a sentence for people, with the system's reason where there is one.
//!
//! Owns: the one error type. Never: decides what follows from it.

use std::{fmt, io};

use nix::errno::Errno;

/// A failure: own sentence, lower-case, naming the thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault(String);

impl Fault {
    /// A failure that no system call is behind.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

/// Adds to a failed call what was to be done.
pub(crate) trait Because<T> {
    /// `what` says what could not be done; the system's reason follows it.
    fn because(self, what: impl FnOnce() -> String) -> Result<T, Fault>;
}

impl<T> Because<T> for Result<T, Errno> {
    fn because(self, what: impl FnOnce() -> String) -> Result<T, Fault> {
        self.map_err(|errno| Fault(format!("{}: {}", what(), errno.desc())))
    }
}

impl<T> Because<T> for io::Result<T> {
    fn because(self, what: impl FnOnce() -> String) -> Result<T, Fault> {
        self.map_err(|error| match error.raw_os_error() {
            Some(number) => Fault(format!("{}: {}", what(), Errno::from_raw(number).desc())),
            None => Fault(format!("{}: {error}", what())),
        })
    }
}
