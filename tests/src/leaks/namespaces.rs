//! Namespaces that the daemon's processes live in, and mounts that stay in them where nobody looks.
//!
//! Never: names one by its inode number, which is another each time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::Counts;
use crate::nursery::{Process, processes};

/// Kinds of namespaces, but for the network's, which has a list of its own.
const KINDS: [&str; 7] = ["ipc", "uts", "pid", "user", "cgroup", "mnt", "time"];

/// How many namespaces of each kind, other than the nursery's own, have a process below the nursery in them.
pub(super) fn lived_in(everybody: u32, below: &[Process]) -> Counts {
    let of = |pid: u32, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    let mut found = Counts::new();
    for kind in KINDS {
        let own = of(everybody, kind);
        let others: BTreeSet<_> = below
            .iter()
            .map(|process| of(process.pid, kind))
            .filter(|it| it.is_some() && *it != own)
            .collect();
        if !others.is_empty() {
            found.insert(kind.to_owned(), others.len());
        }
    }
    found
}

/// Mounts of the folders in mount namespaces other than ours: each keeps a file system busy that we have unmounted.
pub(super) fn mounts_elsewhere(folders: &[PathBuf]) -> Counts {
    let own = fs::read_link("/proc/self/ns/mnt").ok();
    let mut namespaces = BTreeMap::new();
    for process in processes() {
        let namespace = fs::read_link(format!("/proc/{}/ns/mnt", process.pid)).ok();
        if namespace.is_some() && namespace != own {
            namespaces.entry(namespace).or_insert(process);
        }
    }
    let mut found = Counts::new();
    for process in namespaces.values() {
        let text = fs::read_to_string(format!("/proc/{}/mountinfo", process.pid)).unwrap_or_default();
        let points = text.lines().filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| folders.iter().any(|folder| Path::new(point).starts_with(folder)))
        {
            *found.entry(format!("{point} in the namespace of {}", process.name)).or_default() += 1;
        }
    }
    found
}
