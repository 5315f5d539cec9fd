//! Pressure stall information of one resource (kernel's Documentation/accounting/psi.rst).
//!
//! Never: kept; each is read when asked.

use std::{fs, path::Path};

const NANOS_PER_MICRO: u64 = 1000;

/// How long tasks were stalled.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stall {
    /// Nanoseconds since the cgroup was made.
    pub total: u64,
    /// Per cent of the last 10 s.
    pub avg10: f64,
    /// Per cent of the last 60 s.
    pub avg60: f64,
    /// Per cent of the last 300 s.
    pub avg300: f64,
}

impl Eq for Stall {}

/// Stalls for want of one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Some task was stalled.
    pub some: Stall,
    /// All tasks were.
    pub full: Stall,
}

impl Pressure {
    /// Reads a `*.pressure` file; `None` where the kernel has none (PSI is off, or cgroup v1).
    pub fn read(path: &Path) -> Option<Self> {
        Some(Self::parse(&fs::read_to_string(path).ok()?))
    }

    fn parse(text: &str) -> Self {
        let line = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            let of = |key: &str| {
                line.split_whitespace().find_map(|part| part.strip_prefix(key)?.strip_prefix('='))
            };
            let average = |key| of(key).and_then(|value| value.parse().ok()).unwrap_or(0.0);
            let micros: u64 = of("total").and_then(|value| value.parse().ok()).unwrap_or(0);
            Stall {
                total: micros.saturating_mul(NANOS_PER_MICRO),
                avg10: average("avg10"),
                avg60: average("avg60"),
                avg300: average("avg300"),
            }
        };
        Self { some: line("some"), full: line("full") }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pressure, Stall};

    #[test]
    fn both_lines_are_read() {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=2500\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        let read = Pressure::parse(text);
        assert_eq!(read.some, Stall { total: 2_500_000, avg10: 1.5, avg60: 0.25, avg300: 0.0 });
        assert_eq!(read.full.total, 7000);
        assert_eq!(Pressure::parse("nonsense"), Pressure::default());
    }
}
