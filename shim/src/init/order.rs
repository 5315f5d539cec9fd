//! What a pod's first process is told: lines of `key=value`.
//!
//! Owns: the checks. Never: touches the file system.

use std::path::{Component, PathBuf};

use crate::fault::Fault;

/// A checked order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// Where to pin the new PID namespace.
    pub(crate) pin: PathBuf,
    /// Pins of the pod's other namespaces, to be joined first.
    pub(crate) join: Vec<PathBuf>,
}

/// Most namespaces to join: net, ipc, uts, and room for one kind more.
const JOIN_MAX: usize = 4;

/// Characters shown of a bad text.
const SHOWN_MAX: usize = 200;

impl Order {
    /// Checks an order. Unknown keys are refused, since skipping one would be a success that did less than was asked.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let (mut pin, mut join) = (None, Vec::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| Fault::new(format!("{:?} is no key=value", start(line))))?;
            match key {
                "pid" if pin.is_none() => pin = Some(path(value)?),
                "join" if join.len() < JOIN_MAX => join.push(path(value)?),
                "pid" | "join" => return Err(Fault::new(format!("{key} once too often"))),
                _ => return Err(Fault::new(format!("{:?} is no key of an order", start(key)))),
            }
        }
        let pin = pin.ok_or_else(|| Fault::new("the order does not say where to pin the PID namespace"))?;
        Ok(Self { pin, join })
    }
}

fn path(value: &str) -> Result<PathBuf, Fault> {
    let path = PathBuf::from(value);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain && !value.contains('\0') {
        Ok(path)
    } else {
        Err(Fault::new(format!("{:?} is no plain absolute path", start(value))))
    }
}

/// Enough of a bad text to know it by.
fn start(text: &str) -> String {
    text.chars().take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::Order;

    #[test]
    fn an_order_is_read_and_a_bad_one_refused() {
        let order = Order::parse("join=/s/net\njoin=/s/ipc\npid=/s/pid\n").unwrap();
        assert_eq!((order.join.len(), order.pin.to_str()), (2, Some("/s/pid")));
        for bad in [
            "",
            "join=/a",
            "pid=a",
            "pid=/a/../b",
            "pid=/a\npid=/b",
            "pid=/a\nnet=/b",
            "pid",
            &"join=/a\n".repeat(5),
        ] {
            assert!(Order::parse(bad).is_err(), "{bad:?}");
        }
    }
}
