//! A process's children, as the kernel lists them.
//!
//! Owns: nothing. Never: a process.

use std::fs;

/// Our own children.
pub(crate) fn own() -> Vec<i32> {
    of(i32::try_from(std::process::id()).unwrap_or(0))
}

/// Children of a process, over all its threads. Empty where it is gone or the kernel has no such list.
pub(crate) fn of(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .collect()
}
