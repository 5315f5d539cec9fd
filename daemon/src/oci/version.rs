//! Versions of runtimes, and which ones have known holes.
//!
//! Owns: the table of advisories. Never: runs the program.

/// What is known against a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advisory {
    /// Versions below this one are meant.
    pub below: (u32, u32, u32),
    /// The advisory and its effect.
    pub text: &'static str,
}

/// Newest first; the first that applies is told.
const RUNC: [Advisory; 3] = [
    Advisory {
        below: (1, 2, 8),
        text: "CVE-2025-31133, CVE-2025-52565, CVE-2025-52881: masked paths and mounts can be turned against the host; update to 1.2.8, 1.3.3 or later (or your distribution's patched package)",
    },
    Advisory {
        below: (1, 1, 12),
        text: "CVE-2024-21626: a leaked descriptor leads to the host's files; update to 1.1.12 or later",
    },
    Advisory {
        below: (1, 1, 0),
        text: "exec cannot be given a cgroup of its own: exec timeouts may leave processes; update to 1.1.0 or later",
    },
];

const CRUN: [Advisory; 1] =
    [Advisory { below: (1, 8, 1), text: "not tried with Taffrail; update to 1.8.1 or later" }];

/// Finds the version in the first line of `--version`: `runc version 1.1.5+ds1` or `crun version 1.8.1`.
pub fn read_version(output: &str) -> Option<(String, (u32, u32, u32))> {
    let mut words = output.lines().next()?.split_whitespace();
    let name = words.next()?.to_owned();
    let version = words.find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    Some((name, (numbers.next()?, numbers.next()?, numbers.next().unwrap_or(0))))
}

/// The advisory that applies to a program's version.
pub fn advisory(name: &str, version: (u32, u32, u32)) -> Option<Advisory> {
    let table: &[Advisory] = match name {
        "runc" => &RUNC,
        "crun" => &CRUN,
        _ => &[],
    };
    // The oldest line that applies is the worst.
    table.iter().rev().find(|advisory| version < advisory.below).copied()
}

#[cfg(test)]
mod tests {
    use super::{advisory, read_version};

    #[test]
    fn versions_of_both_are_read() {
        assert_eq!(read_version("runc version 1.1.5+ds1\ncommit: x"), Some(("runc".into(), (1, 1, 5))));
        assert_eq!(read_version("crun version 1.8.1\ncommit"), Some(("crun".into(), (1, 8, 1))));
        assert_eq!(read_version(""), None);
    }

    #[test]
    fn old_ones_have_their_advisory() {
        assert!(advisory("runc", (1, 1, 5)).is_some_and(|a| a.text.contains("CVE-2024-21626")));
        assert!(advisory("runc", (1, 4, 0)).is_none());
    }
}
