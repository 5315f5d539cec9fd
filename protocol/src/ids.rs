//! Ids that become part of file names, cgroup names and command lines. The only way to have one is to parse
//! one, so what is held has been checked.
//!
//! Never: makes up a random id; that is the daemon's.

use std::fmt;

use crate::limits::ID_MAX;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadId {
    text: String,
}

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no id: 1 to {ID_MAX} lower-case letters, digits or inner '-' are", self.text)
    }
}

impl std::error::Error for BadId {}

fn check(text: &str) -> Result<(), BadId> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let good = !bytes.is_empty()
        && bytes.len() <= ID_MAX
        && bytes.iter().all(|&b| inner(b) || b == b'-')
        && bytes.first().is_some_and(|&b| inner(b))
        && bytes.last().is_some_and(|&b| inner(b));
    if good { Ok(()) } else { Err(BadId { text: text.chars().take(ID_MAX + 1).collect() }) }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Checks a text: 1 to 64 lower-case letters, digits or inner `-`.
            pub fn parse(text: &str) -> Result<Self, BadId> {
                check(text)?;
                Ok(Self(text.to_owned()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// A container: 64 hexadecimal digits where we made it.
    ContainerId
}
id! {
    /// A sandbox: 64 hexadecimal digits where we made it.
    SandboxId
}
id! {
    /// One command run in a container.
    ExecId
}

#[cfg(test)]
mod tests {
    use super::ContainerId;

    #[test]
    fn ids_that_could_leave_their_folder_are_refused() {
        for bad in ["", ".", "..", "a/b", "../x", "A", "-a", "a-", "a b", "a\0", &"a".repeat(65)] {
            assert!(ContainerId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hexadecimal_ids_are_taken() {
        assert!(ContainerId::parse(&"0f".repeat(32)).is_ok());
        assert!(ContainerId::parse("exec-12").is_ok());
    }
}
