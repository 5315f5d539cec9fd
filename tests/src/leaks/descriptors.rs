//! Descriptors: the daemon's by kind, those that a child of it would inherit, files that are held although they are
//! gone, and sockets by name.
//!
//! Never: names one by its number.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt, path::PathBuf};

use super::Counts;
use crate::nursery::{Process, process};

/// The flag in `fdinfo`, as the kernel prints it: octal, O_CLOEXEC.
const CLOSE_ON_EXEC: u32 = 0o2_000_000;
/// A shim's process, and its program as a descriptor.
const SHIM: &str = "taffrail-shim";
const PROGRAM: &str = "/memfd:taffrail-shim (deleted)";
/// A listening socket's state in `/proc/net/tcp`.
const LISTENS: &str = "0A";

/// A process's descriptors by kind (`socket`, `pipe`, `anon_inode`) or file.
pub(super) fn by_kind(pid: u32) -> Counts {
    let mut kinds = Counts::new();
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return kinds };
    for entry in entries.filter_map(Result::ok) {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy();
        // `socket:[17]` is one of many; `anon_inode:[eventpoll]` says what it is.
        let kind = match target.split_once(":[") {
            Some((kind, _)) if kind != "anon_inode" => kind.to_owned(),
            _ if target.ends_with("[pidfd]") => {
                format!("pidfd of {}", held(pid, &entry.file_name().to_string_lossy()))
            }
            _ => target.into_owned(),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    // A daemon holds one of a keeper that an earlier daemon started, and none of its own child.
    if let Some(count) = kinds.get_mut("pidfd of taffrail-keeper") {
        *count -= 1;
    }
    kinds
}

/// The keeper's. A shim's successor is of the shim's own program, so it holds each program that some shim runs, as many
/// as there were daemons that started them.
pub(super) fn of_keeper(keeper: u32, below: &[Process]) -> Counts {
    let which = |pid| fs::metadata(format!("/proc/{pid}/exe")).map(|file| (file.dev(), file.ino())).ok();
    let shims = below.iter().filter(|process| process.name == SHIM);
    let programs: BTreeSet<_> = shims.filter_map(|shim| which(shim.pid)).collect();
    let mut kinds = by_kind(keeper);
    if let Some(count) = kinds.get_mut(PROGRAM) {
        *count = count.saturating_sub(programs.len());
    }
    kinds
}

/// Name of the process that a pidfd holds.
fn held(pid: u32, number: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
    let held = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    let held = held.and_then(|pid| pid.trim().parse::<u32>().ok());
    held.and_then(process).map_or_else(|| "a process that is gone".to_owned(), |process| process.name)
}

fn targets(pid: u32) -> Vec<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.map(|target| target.to_string_lossy().into_owned()).collect()
}

/// The daemon's descriptors beyond the standard ones that a child would inherit.
pub(super) fn inherited(pid: u32) -> Counts {
    let mut found = Counts::new();
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return found };
    for entry in entries.filter_map(Result::ok) {
        let number: u32 = entry.file_name().to_string_lossy().parse().unwrap_or_default();
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        if number > 2 && flags.is_some_and(|flags| flags & CLOSE_ON_EXEC == 0) {
            let target = fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap_or_default();
            *found.entry(target.to_string_lossy().into_owned()).or_default() += 1;
        }
    }
    found
}

/// Files below the folders that are gone and held open: logs, above all.
pub(super) fn held_though_gone(folders: &[PathBuf], below: &[Process]) -> Counts {
    let mut found = Counts::new();
    let is_below = |target: &str| folders.iter().any(|folder| target.starts_with(&*folder.to_string_lossy()));
    for process in below {
        for target in targets(process.pid) {
            if is_below(&target) && target.ends_with(" (deleted)") {
                *found.entry(format!("{target} by {}", process.name)).or_default() += 1;
            }
        }
    }
    found
}

/// Unix sockets of the daemon's network by path (`@`: abstract), and ports on which a process below the nursery listens.
pub(super) fn sockets(everybody: u32, below: &[Process]) -> Counts {
    let mut found = Counts::new();
    let table = |name: &str| fs::read_to_string(format!("/proc/{everybody}/net/{name}")).unwrap_or_default();
    for line in table("unix").lines().skip(1) {
        // The path stands last, where there is one. A socket that is connected bears its listener's.
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [_, _, _, flags, _, _, _, path] = fields[..]
            && flags == "00010000"
        {
            *found.entry(path.to_owned()).or_default() += 1;
        }
    }
    let held: BTreeSet<String> = below.iter().flat_map(|process| targets(process.pid)).collect();
    for line in table("tcp").lines().chain(table("tcp6").lines()) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(address), Some(state), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9)) else {
            continue;
        };
        if *state == LISTENS && held.contains(&format!("socket:[{inode}]")) {
            *found.entry(format!("port {address}")).or_default() += 1;
        }
    }
    found
}
