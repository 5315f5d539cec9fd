//! Kills all that is in a cgroup, on either version.
//!
//! Owns: the order of freezing, looking and killing. Never: leaves a cgroup frozen; makes or removes one.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use crate::{
    limits::{CGROUP_READ, KILL_ROUNDS, TREE_MAX},
    sys::pidfd::PidFd,
};

use super::launch::Groups;

/// SIGKILL to every process of the groups. `true`: some may still be there, come again.
pub(crate) fn kill_all(groups: &Groups) -> bool {
    if let Some(unified) = &groups.unified {
        // One write, no race; Linux 5.14.
        if write(&unified.join("cgroup.kill"), "1") {
            return has_processes(unified);
        }
        if let Some(left) = freeze_and_kill(unified, "cgroup.freeze", ["1", "0"]) {
            return left;
        }
    }
    if let Some(freezer) = &groups.freezer
        && let Some(left) = freeze_and_kill(freezer, "freezer.state", ["FROZEN", "THAWED"])
    {
        return left;
    }
    groups.memory.as_ref().is_some_and(|memory| kill_rounds(memory))
}

/// `None`: there is no such group.
fn freeze_and_kill(group: &Path, file: &str, [freeze, thaw]: [&str; 2]) -> Option<bool> {
    let state = group.join(file);
    if !state.exists() {
        return None;
    }
    // Freezing may take its time for a process in the kernel; the rounds below do not rely on it.
    write(&state, freeze);
    let left = kill_rounds(group);
    // A frozen process dies only when it is thawed. Nothing between the two writes can return early.
    write(&state, thaw);
    Some(left)
}

fn kill_rounds(group: &Path) -> bool {
    let mut killed = BTreeMap::new();
    for _ in 0..KILL_ROUNDS {
        let mut opened = Vec::new();
        for pid in processes(group) {
            if !killed.contains_key(&pid)
                && let Ok(process) = PidFd::open(pid)
            {
                opened.push((pid, process));
            }
        }
        if opened.is_empty() {
            break;
        }
        // Looked at again with the pidfd open: a number that is still there belongs to what we hold.
        let still = processes(group);
        for (pid, process) in opened {
            if still.contains(&pid) {
                process.kill();
                killed.insert(pid, process);
            }
        }
    }
    has_processes(group)
}

fn has_processes(group: &Path) -> bool {
    !processes(group).is_empty()
}

/// Numbers of the processes in a group and below it. One without a number here (0: of another PID namespace)
/// cannot be ours.
fn processes(group: &Path) -> Vec<i32> {
    let mut found = Vec::new();
    let mut folders = vec![group.to_owned()];
    while let Some(folder) = folders.pop() {
        let text = read(&folder.join("cgroup.procs"));
        found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|&pid| pid > 1));
        if found.len() > TREE_MAX {
            break;
        }
        folders.extend(subfolders(&folder));
    }
    found
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.flatten().filter(is_folder).map(|entry| entry.path()).collect()
}

/// A cgroup file's text; empty where the group is gone.
pub(crate) fn read(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(file) = fs::File::open(path) {
        let most = u64::try_from(CGROUP_READ).unwrap_or(u64::MAX);
        // A group removed while it is read gives ENODEV: what came until then is true.
        drop(file.take(most).read_to_string(&mut text));
    }
    text
}

/// Writes a cgroup file. `false`: it is not there, or the kernel refused.
pub(crate) fn write(path: &Path, text: &str) -> bool {
    OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(text.as_bytes())).is_ok()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
        process::{Child, Command},
    };

    use super::{kill_all, write};
    use crate::supervise::launch::Groups;

    /// A group with a group in it, and two processes in each; `None`: no such hierarchy, or not root.
    fn populated(hierarchy: &str) -> Option<(PathBuf, Vec<Child>)> {
        let name = format!("taffrail-kill-{}", std::process::id());
        let group = Path::new("/sys/fs/cgroup").join(hierarchy).join(name);
        let below = group.join("below");
        fs::create_dir_all(&below).ok()?;
        let children = [&group, &below].into_iter().flat_map(|folder| {
            (0..2).map(move |_| {
                let child = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
                assert!(write(&folder.join("cgroup.procs"), &child.id().to_string()));
                child
            })
        });
        let children = children.collect();
        Some((group, children))
    }

    fn check(hierarchy: &str, groups: impl Fn(PathBuf) -> Groups) {
        let Some((group, mut children)) = populated(hierarchy) else { return };
        let mut bystander = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let groups = groups(group.clone());
        // What is killed is gone when it is reaped, not before.
        kill_all(&groups);
        for child in &mut children {
            assert!(!child.wait().unwrap().success());
        }
        assert!(!kill_all(&groups), "an empty group has something left");
        assert!(bystander.try_wait().unwrap().is_none());
        bystander.kill().unwrap();
        bystander.wait().unwrap();
        fs::remove_dir(group.join("below")).unwrap();
        fs::remove_dir(group).unwrap();
        assert!(!kill_all(&groups), "a group that is gone has something left");
    }

    #[test]
    fn version_1_is_frozen_killed_and_thawed() {
        check("freezer", |path| Groups { freezer: Some(path), ..Groups::default() });
    }

    #[test]
    fn version_1_without_a_freezer_is_killed_in_rounds() {
        check("memory", |path| Groups { memory: Some(path), ..Groups::default() });
    }

    #[test]
    fn version_2_is_killed_by_one_write() {
        let root = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "" } else { "unified" };
        check(root, |path| Groups { unified: Some(path), ..Groups::default() });
    }
}
