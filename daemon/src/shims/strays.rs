//! Supervisors that nobody can reach any more, since the state folder with their sockets and locks was wiped, or the
//! keeper's socket alone; or since a shim has come no further than to its lock.
//!
//! Owns: how one is told: by the lock that it holds for life. Never: one that can be asked. Blocking.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use protocol::{keeperdir::KeeperDir, rundir::RunDir};

use super::inspect::has_open;
use crate::{cgroups::Cgroups, layout::Layout, limits, steps, sys::pidfd::PidFd};

/// Whose files may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stray {
    /// The keeper: with the whole state folder.
    Keeper,
    /// One shim: with its run directory.
    Shim,
}

impl Stray {
    /// Its process's name.
    fn name(self) -> &'static str {
        match self {
            Self::Keeper => "taffrail-keeper",
            Self::Shim => "taffrail-shim",
        }
    }

    /// Whether a file of this path is its own lock. The keeper holds duplicates of shims' locks too.
    fn owns(self, path: &Path, places: &Places) -> bool {
        match self {
            Self::Keeper => path == places.keeper,
            Self::Shim => path.parent().is_some_and(|run_dir| {
                run_dir.parent() == Some(&places.run_dirs) && path == RunDir::new(run_dir).lock()
            }),
        }
    }
}

/// Where locks are, as the kernel names them: through no link.
struct Places {
    /// The keeper's lock.
    keeper: PathBuf,
    /// Where shims' run directories are.
    run_dirs: PathBuf,
}

impl Places {
    fn of(layout: &Layout) -> io::Result<Self> {
        let state = fs::canonicalize(layout.state())?;
        let run_dirs = layout.run_dirs();
        let run_dirs =
            run_dirs.strip_prefix(layout.state()).map_or(run_dirs.clone(), |rest| state.join(rest));
        Ok(Self { keeper: KeeperDir::new(state).lock(), run_dirs })
    }
}

/// Kills every one of these that lost its files. What they supervised is lost, which the caller sees to. Returns how
/// many there were.
pub fn end_strays(cgroups: &Cgroups, layout: &Layout, which: Stray) -> io::Result<usize> {
    let places = Places::of(layout)?;
    let mut ended = 0;
    for pid in cgroups.supervisors() {
        let told = || {
            tracing::warn!(pid, role = which.name(), "its files were lost; it is killed");
            steps::reach("recover.stray");
        };
        if end(pid, |pid| is_stray(pid, which, &places), told)? {
            steps::reach("recover.stray_gone");
            ended += 1;
        }
    }
    Ok(ended)
}

/// Kills a process if it is one of those, and waits a while for its end. `told`: what comes before.
fn end(pid: i32, is_it: impl Fn(i32) -> bool, told: impl FnOnce()) -> io::Result<bool> {
    if !is_it(pid) {
        return Ok(false);
    }
    let Some(handle) = PidFd::open(pid)? else { return Ok(false) };
    // Looked at again with the handle open: the number may have come to mean another one.
    if !is_it(pid) {
        return Ok(false);
    }
    told();
    handle.kill()?;
    handle.ends_within(limits::KEEPER_ANSWER)?;
    Ok(true)
}

/// Kills whoever of this role holds a lock, though nobody reaches it: a keeper whose socket somebody removed, a shim that has
/// not made its own yet. Returns how many there were.
pub(super) fn end_holders(cgroups: &Cgroups, which: Stray, lock: &Path) -> io::Result<usize> {
    let mut ended = 0;
    // One that is gone meanwhile holds nothing.
    let is_it = |pid| has_open(pid, which.name(), lock).unwrap_or(false);
    for pid in cgroups.supervisors() {
        let told = || tracing::warn!(pid, role = which.name(), "it cannot be reached, and is killed");
        ended += usize::from(end(pid, is_it, told)?);
    }
    Ok(ended)
}

fn is_stray(pid: i32, which: Stray, places: &Places) -> bool {
    let own = Path::new("/proc").join(pid.to_string());
    // Names of processes are cut to fifteen bytes.
    if !fs::read_to_string(own.join("comm")).is_ok_and(|name| name.trim().starts_with(which.name())) {
        return false;
    }
    let Ok(entries) = fs::read_dir(own.join("fd")) else { return false };
    let mut open = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    open.any(|path| {
        let deleted = path.to_str().and_then(|path| path.strip_suffix(" (deleted)"));
        deleted.is_some_and(|path| which.owns(Path::new(path), places))
    })
}
