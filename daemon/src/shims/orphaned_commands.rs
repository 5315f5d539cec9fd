//! A runtime's commands that neither a shim nor a keeper waits for any more. A slow one would make a container after its
//! loss was told.
//!
//! Owns: how one is told: it is where shims are, is none, and the container's id is in its environment; or it is of such
//! a one's process group, or its child. Never: one whose shim lives, which the caller must know. Blocking.

use std::{collections::BTreeSet, fs, io, path::Path};

use protocol::{ids::ContainerId, rundir::CONTAINER_VARIABLE};

use crate::{cgroups::Cgroups, limits, sys::pidfd::PidFd};

/// Where a process stands among the others.
struct Place {
    pid: i32,
    parent: i32,
    group: i32,
    /// The container is named in its environment.
    is_named: bool,
}

/// Kills every command for this container and waits for its end. Returns how many there were.
pub fn end_orphaned_commands(cgroups: &Cgroups, id: &ContainerId) -> io::Result<usize> {
    let mut ended = 0;
    // One that is about to start another may just have done so.
    for _ in 0..limits::ORPHAN_LOOKS {
        let found = find(cgroups, id);
        if found.is_empty() {
            return Ok(ended);
        }
        for &pid in &found {
            let Some(handle) = PidFd::open(pid)? else { continue };
            // Looked at again with the handle open: the number may have come to mean another one.
            if !cgroups.supervisors().contains(&pid) || is_ours(pid) {
                continue;
            }
            tracing::warn!(%id, pid, "a runtime's command whose shim and keeper are gone is killed");
            handle.kill()?;
            if !handle.ends_within(limits::ORPHAN_ENDS)? {
                return Err(io::Error::other(format!(
                    "process {pid}, a runtime's command for it, does not end at SIGKILL"
                )));
            }
            ended += 1;
        }
    }
    Err(io::Error::other("its runtime goes on starting processes whose shim and keeper are gone"))
}

fn find(cgroups: &Cgroups, id: &ContainerId) -> BTreeSet<i32> {
    let places: Vec<Place> = cgroups.supervisors().into_iter().filter_map(|pid| look(pid, id)).collect();
    let groups: BTreeSet<i32> =
        places.iter().filter(|place| place.is_named).map(|place| place.group).collect();
    let mut found: BTreeSet<i32> = places
        .iter()
        .filter(|place| place.is_named || groups.contains(&place.group))
        .map(|place| place.pid)
        .collect();
    loop {
        let before = found.len();
        let children = places.iter().filter(|place| found.contains(&place.parent)).map(|place| place.pid);
        let children: Vec<i32> = children.collect();
        found.extend(children);
        if found.len() == before {
            return found;
        }
    }
}

/// `None`: it is gone, has ended, or is a shim or a keeper.
fn look(pid: i32, id: &ContainerId) -> Option<Place> {
    if is_ours(pid) {
        return None;
    }
    let own = Path::new("/proc").join(pid.to_string());
    let stat = fs::read_to_string(own.join("stat")).ok()?;
    // The second field is a name in parentheses, which may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let is_over = matches!(fields.next()?, "Z" | "X");
    let (parent, group) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let environment = fs::read(own.join("environ")).unwrap_or_default();
    let mark = format!("{CONTAINER_VARIABLE}={id}");
    let is_named = environment.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes());
    (!is_over).then_some(Place { pid, parent, group, is_named })
}

/// Whether it is a shim or a keeper, or can not be told from one.
fn is_ours(pid: i32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    name.map_or(true, |name| name.starts_with("taffrail-"))
}
