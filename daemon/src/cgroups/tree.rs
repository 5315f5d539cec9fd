//! A cgroup and all below it: its processes, and how they are killed and the folders removed.
//!
//! Owns: the order in which that is safe. Never: where a cgroup is.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::sys::pidfd::PidFd;

/// Rounds of reading and killing over a v1 cgroup that does not come to rest: each finds fewer that are new.
const KILL_ROUNDS: usize = 8;

/// How long a v1 freezer may take to come to rest; a task in the kernel holds it up.
const FREEZE_WAIT: Duration = Duration::from_millis(100);

/// Writes to a file of a cgroup.
pub(super) fn append(path: &Path, text: &str) -> io::Result<()> {
    use io::Write;
    fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// The processes of this folder alone.
pub(super) fn members(folder: &Path) -> Vec<i32> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// The folder and all below it, parents first.
pub(super) fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        if let Ok(entries) = fs::read_dir(&next) {
            open.extend(entries.filter_map(Result::ok).filter(|e| e.path().is_dir()).map(|e| e.path()));
            found.push(next);
        }
    }
    found
}

/// Removes a cgroup with those below it. Finds it gone: fine.
pub(super) fn remove_tree(folder: &Path) -> io::Result<()> {
    for folder in tree(folder).iter().rev() {
        match fs::remove_dir(folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// Kills all below by one write (kernel 5.14).
pub(super) fn kill_v2(folder: &Path) -> io::Result<()> {
    match append(&folder.join("cgroup.kill"), "1") {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Whether a freezer has come to rest: the write returns while the last tasks still run (FREEZING).
fn becomes_frozen(state: &Path) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < FREEZE_WAIT {
        if fs::read_to_string(state).is_ok_and(|now| now.trim() == "FROZEN") {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

/// Freeze, so that nothing forks away; kill each by a handle, checked after opening; thaw, whatever happened,
/// since a frozen process does not die.
pub(super) fn kill_v1(folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let state = folder.join("freezer.state");
    let frozen = append(&state, "FROZEN").is_ok() && becomes_frozen(&state);
    let mut result = Ok(());
    let mut told = HashSet::new();
    for _ in 0..KILL_ROUNDS {
        let mut some = false;
        for folder in tree(folder) {
            for pid in members(&folder) {
                some |= told.insert(pid);
                let killed = PidFd::open(pid).and_then(|handle| match handle {
                    Some(handle) if members(&folder).contains(&pid) => handle.kill(),
                    _ => Ok(()),
                });
                result = result.and(killed);
            }
        }
        // Frozen, nobody forks; else the rounds go on until one finds nobody new.
        if !some || frozen {
            break;
        }
    }
    match append(&state, "THAWED") {
        Err(e) if e.kind() != io::ErrorKind::NotFound => result.and(Err(e)),
        _ => result,
    }
}
