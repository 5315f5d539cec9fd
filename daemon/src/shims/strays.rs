//! Supervisors that nobody can reach any more, since the state folder with their sockets and locks was wiped.
//!
//! Owns: how one is told: it holds open a file that was below the state folder and is deleted. Never: one whose files are
//! there; those are asked. Blocking.

use std::{fs, io, path::Path};

use crate::{cgroups::Cgroups, limits, sys::pidfd::PidFd};

/// Kills every keeper, and then every shim, that lost its files with the state folder. Their containers are lost, which
/// the caller sees to. Returns how many there were.
pub fn end_strays(cgroups: &Cgroups, state: &Path) -> io::Result<usize> {
    let mut ended = 0;
    // The keeper first: it would put another shim in the place of one that is killed.
    for role in ["taffrail-keeper", "taffrail-shim"] {
        for pid in cgroups.supervisors() {
            if !is_stray(pid, role, state) {
                continue;
            }
            let Some(handle) = PidFd::open(pid)? else { continue };
            // Looked at again with the handle open: the number may have come to mean another one.
            if is_stray(pid, role, state) {
                tracing::warn!(pid, role, "its files were lost with the state folder; it is killed");
                handle.kill()?;
                handle.ends_within(limits::KEEPER_ANSWER)?;
                ended += 1;
            }
        }
    }
    Ok(ended)
}

fn is_stray(pid: i32, role: &str, state: &Path) -> bool {
    let own = Path::new("/proc").join(pid.to_string());
    // Names of processes are cut to fifteen bytes.
    if fs::read_to_string(own.join("comm")).is_ok_and(|name| !name.trim().starts_with(role)) {
        return false;
    }
    let Ok(entries) = fs::read_dir(own.join("fd")) else { return false };
    let mut open = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    open.any(|path| path.starts_with(state) && path.to_string_lossy().ends_with(" (deleted)"))
}
