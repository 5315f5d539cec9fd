//! Counters of a pod's network interfaces.
//!
//! Never: stays in a pod's namespace; the look is on a thread of its own, which ends.

use std::{fs, path::Path};

use crate::sys::netns;

/// Most interfaces of one pod that are told.
const INTERFACES_MAX: usize = 64;

/// One interface's counters since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name inside the pod.
    pub name: String,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Errors while receiving.
    pub rx_errors: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Errors while sending.
    pub tx_errors: u64,
}

/// The interfaces of each namespace, by its pin; loopback is left out. What cannot be read is an empty list.
/// Blocking.
pub fn networks(pins: &[impl AsRef<Path> + Sync]) -> Vec<Vec<Interface>> {
    let look = || fs::read_to_string("/proc/thread-self/net/dev").map(|text| parse(&text));
    match netns::inside_each(pins, look) {
        Ok(seen) => seen.into_iter().map(|seen| seen.flatten().unwrap_or_default()).collect(),
        Err(_) => vec![Vec::new(); pins.len()],
    }
}

/// `/proc/net/dev`: two lines of headings, then `name: 8 counters received, 8 sent`.
fn parse(text: &str) -> Vec<Interface> {
    let line = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let numbers: Vec<u64> = counters.split_whitespace().map_while(|n| n.parse().ok()).collect();
        let of = |at: usize| numbers.get(at).copied();
        let (rx_bytes, rx_errors, tx_bytes, tx_errors) = (of(0)?, of(2)?, of(8)?, of(10)?);
        Some(Interface { name: name.trim().to_owned(), rx_bytes, rx_errors, tx_bytes, tx_errors })
    };
    text.lines().filter_map(line).filter(|interface| interface.name != "lo").take(INTERFACES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::{Interface, parse};

    #[test]
    fn counters_are_where_the_kernel_writes_them() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets |bytes packets\n\
            lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n\
            eth0: 100 2 3 4 5 6 7 8 900 10 11 12 13 14 15 16\n broken: 1 2\n";
        let eth0 =
            Interface { name: "eth0".into(), rx_bytes: 100, rx_errors: 3, tx_bytes: 900, tx_errors: 11 };
        assert_eq!(parse(text), [eth0]);
    }
}
