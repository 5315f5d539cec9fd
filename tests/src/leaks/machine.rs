//! The host beside the daemon: what it may not touch, and what programs that it runs leave outside of its folders.
//!
//! Never: looks at what other programs of the host change all the time.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Counts;

/// Settings of the kernel that a pod spec could reach for, below `/proc/sys`.
const SETTINGS: [&str; 8] = [
    "kernel/core_pattern",
    "kernel/hostname",
    "kernel/modprobe",
    "kernel/shm_rmid_forced",
    "net/ipv4/ip_forward",
    "net/ipv4/ip_unprivileged_port_start",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

/// Files that a container's own are made from, or that a hostile path could lead to.
const FILES: [&str; 8] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/shadow",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/fstab",
    "/etc/ld.so.preload",
];

/// Where runtimes keep state when they are told nothing else.
const RUNTIME_STATES: [&str; 2] = ["/run/runc", "/run/crun"];

/// The host's settings and files, each with what is in it.
pub(super) fn settings() -> Counts {
    let mut found = Counts::new();
    for name in SETTINGS {
        let value = fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap_or_default();
        found.insert(format!("{name} = {}", value.trim()), 1);
    }
    for name in FILES {
        let bytes = fs::read(name).unwrap_or_default();
        // Enough to see a change; not a secret in a test's output.
        let sum = bytes.iter().fold(0_u64, |sum, byte| sum.rotate_left(7) ^ u64::from(*byte));
        found.insert(format!("{name}: {} bytes, sum {sum:x}", bytes.len()), 1);
    }
    found
}

/// Containers of these folders in the runtimes' own places, and loop devices whose file is below them.
pub(super) fn strays(folders: &[PathBuf]) -> Counts {
    let mut found = Counts::new();
    let folders: Vec<_> = folders.iter().map(|folder| folder.to_string_lossy()).collect();
    for state in RUNTIME_STATES {
        for entry in fs::read_dir(state).into_iter().flatten().filter_map(Result::ok) {
            for name in ["state.json", "status"] {
                let text = fs::read(entry.path().join(name)).unwrap_or_default();
                if folders.iter().any(|folder| String::from_utf8_lossy(&text).contains(&**folder)) {
                    found.insert(entry.path().to_string_lossy().into_owned(), 1);
                }
            }
        }
    }
    for entry in fs::read_dir("/sys/block").into_iter().flatten().filter_map(Result::ok) {
        let file = fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        if folders.iter().any(|folder| file.starts_with(&**folder)) {
            found.insert(format!("{} with {}", entry.path().display(), file.trim()), 1);
        }
    }
    found
}
