//! What a pin process is told: lines of `key=value`.
//!
//! Owns: the checks. Never: touches the file system.

use std::path::{Component, PathBuf};

use crate::fault::Fault;

/// A checked order. Each path: where to pin that namespace; absent: none is made.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// The host name in the new UTS namespace.
    pub(crate) hostname: Option<String>,
    /// The network namespace.
    pub(crate) net: Option<PathBuf>,
    /// The IPC namespace.
    pub(crate) ipc: Option<PathBuf>,
    /// The UTS namespace.
    pub(crate) uts: Option<PathBuf>,
    /// Settings of the new namespaces, in the order they came.
    pub(crate) settings: Vec<Setting>,
}

/// A kernel setting of the new namespaces.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Below /proc/sys.
    pub(crate) path: String,
    /// What is written.
    pub(crate) value: String,
    /// Whether it must be there; else a kernel without it is fine.
    pub(crate) must: bool,
}

/// Characters shown of a bad text.
const SHOWN_MAX: usize = 200;

/// Longest host name of Linux in bytes.
const HOSTNAME_MAX: usize = 64;

impl Order {
    /// Checks an order. Each key at most once; unknown ones are refused, since skipping one would be a success
    /// that did less than was asked.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let mut order = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| Fault::new(format!("{:?} is no key=value", start(line))))?;
            let place = match key {
                "hostname" => {
                    if value.is_empty() || value.len() > HOSTNAME_MAX || value.contains('\0') {
                        return Err(Fault::new(format!(
                            "{:?} is no host name of 1 to {HOSTNAME_MAX} bytes",
                            start(value)
                        )));
                    }
                    if order.hostname.replace(value.to_owned()).is_some() {
                        return Err(Fault::new("hostname twice"));
                    }
                    continue;
                }
                "sysctl" | "default" => {
                    order.settings.push(setting(value, key == "sysctl")?);
                    continue;
                }
                "net" => &mut order.net,
                "ipc" => &mut order.ipc,
                "uts" => &mut order.uts,
                _ => return Err(Fault::new(format!("{:?} is no key of an order", start(key)))),
            };
            if place.replace(path(key, value)?).is_some() {
                return Err(Fault::new(format!("{key} twice")));
            }
        }
        if order.hostname.is_some() && order.uts.is_none() {
            return Err(Fault::new("hostname without uts would rename the host"));
        }
        if order.net.is_none() && order.ipc.is_none() && order.uts.is_none() {
            return Err(Fault::new("the order names no namespace"));
        }
        order.check_settings()?;
        Ok(order)
    }

    /// A setting of a namespace that is not made here would be the host's.
    fn check_settings(&self) -> Result<(), Fault> {
        for setting in &self.settings {
            let made = if setting.path.starts_with("net/") { &self.net } else { &self.ipc };
            if made.is_none() {
                return Err(Fault::new(format!("{:?} would be set on the host", start(&setting.path))));
            }
        }
        Ok(())
    }
}

/// `path=value`, of a kind that namespaces have.
fn setting(text: &str, must: bool) -> Result<Setting, Fault> {
    let bad = || Fault::new(format!("{:?} is no setting of a namespace", start(text)));
    let (path, value) = text.split_once('=').ok_or_else(bad)?;
    let of_namespaces = ["net/", "kernel/shm", "kernel/msg", "fs/mqueue/"];
    let known = path == "kernel/sem" || of_namespaces.iter().any(|begin| path.starts_with(begin));
    let plain = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if known && plain && !text.contains('\0') {
        Ok(Setting { path: path.to_owned(), value: value.to_owned(), must })
    } else {
        Err(bad())
    }
}

fn path(key: &str, value: &str) -> Result<PathBuf, Fault> {
    let path = PathBuf::from(value);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain && !value.contains('\0') {
        Ok(path)
    } else {
        Err(Fault::new(format!("{key}={:?} is no plain absolute path", start(value))))
    }
}

/// Enough of a bad text to know it by: whoever gave the order may still be writing it, and read no long answer.
fn start(text: &str) -> String {
    text.chars().take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::Order;

    #[test]
    fn an_order_is_read() {
        let order = Order::parse("hostname=web-0\nnet=/run/netns/a\nipc=/s/ipc\nuts=/s/uts\n").unwrap();
        assert_eq!(order.hostname.as_deref(), Some("web-0"));
        assert_eq!(order.net.unwrap().to_str(), Some("/run/netns/a"));
        assert!(Order::parse("ipc=/s/ipc\n").unwrap().net.is_none());
        let order = Order::parse("net=/a\nsysctl=net/core/somaxconn=7\ndefault=net/x=0 1\n").unwrap();
        let found: Vec<_> = order.settings.iter().map(|s| (&*s.path, &*s.value, s.must)).collect();
        assert_eq!(found, [("net/core/somaxconn", "7", true), ("net/x", "0 1", false)]);
    }

    #[test]
    fn what_would_do_less_or_other_than_asked_is_refused() {
        for bad in [
            "",
            "net",
            "net=a",
            "net=/a/../b",
            "pid=/a",
            "net=/a\nnet=/b",
            "hostname=h\nnet=/a",
            "hostname=\nuts=/a",
            "sysctl=net/ipv4/ip_forward=1\nipc=/a",
            "sysctl=kernel/shmmax=1\nnet=/a",
            "sysctl=kernel/hostname=x\nipc=/a\nuts=/b",
            "sysctl=net/../kernel/hostname=x\nnet=/a",
            "sysctl=net/ipv4/ip_forward\nnet=/a",
            &format!("hostname={}\nuts=/a", "h".repeat(65)),
        ] {
            assert!(Order::parse(bad).is_err(), "{bad:?}");
        }
    }
}
