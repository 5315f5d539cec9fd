//! Process trees by `/proc`, for what is in no cgroup of its own: a runtime's command, and an exec without one.
//!
//! Owns: the walk. Never: signals a number: each process is held by a pidfd and checked again first.

use std::{collections::BTreeMap, fs};

use crate::{
    limits::{KILL_ROUNDS, TREE_MAX},
    sys::{children::of as children, pidfd::PidFd},
};

/// SIGKILL to all descendants of a process. The caller stops it before, or it may fork on, and kills it after.
pub(crate) fn kill_descendants(root: i32) {
    let mut held: BTreeMap<i32, PidFd> = BTreeMap::new();
    for _ in 0..KILL_ROUNDS {
        let mut parents: Vec<i32> = held.keys().copied().chain([root]).collect();
        let mut found = false;
        while let Some(parent) = parents.pop() {
            for child in children(parent) {
                if held.contains_key(&child) || held.len() >= TREE_MAX {
                    continue;
                }
                // Opened first and then looked at: what is still a child of its parent now is what we opened.
                if let Ok(process) = PidFd::open(child)
                    && parent_of(child) == Some(parent)
                {
                    // Stopped, it forks no more while the others are found. ESRCH: it ended meanwhile.
                    process.signal(nix::libc::SIGSTOP).ok();
                    held.insert(child, process);
                    parents.push(child);
                    found = true;
                }
            }
        }
        if !found {
            break;
        }
    }
    held.values().for_each(PidFd::kill);
}

/// Whether a process has the same parent as we have.
pub(crate) fn is_sibling(pid: i32) -> bool {
    parent_of(pid) == Some(nix::unistd::getppid().as_raw())
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, spaces and parentheses too.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        process::{Command, Stdio},
    };

    use super::{children, kill_descendants, parent_of};
    use crate::sys::children::own;

    #[test]
    fn grandchildren_are_killed_and_others_are_not() {
        // Each holds the pipe, so its end tells that all of them are gone.
        let script = "sleep 1000 & (sleep 1000 & sleep 1000) & echo; wait";
        let mut shell = Command::new("/bin/sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut bystander = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let mut output = shell.stdout.take().unwrap();
        output.read_exact(&mut [0]).unwrap();
        let root = i32::try_from(shell.id()).unwrap();
        kill_descendants(root);
        shell.kill().unwrap();
        shell.wait().unwrap();
        output.read_to_end(&mut Vec::new()).unwrap();
        assert!(bystander.try_wait().unwrap().is_none());
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }

    const LOOKS: u32 = 100;

    #[test]
    fn parents_and_children_agree() {
        let mut child = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // Other tests' threads end meanwhile, and the kernel's list of threads may then pass one over: a program with one
        // thread does not meet that.
        assert!((0..LOOKS).any(|_| own().contains(&pid)));
        assert_eq!(parent_of(pid), i32::try_from(std::process::id()).ok());
        assert!(children(pid).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
