//! The first process of a pod with a PID namespace of its own, found and ended by its cgroup, which bears the pod's
//! id: a daemon that knows nothing of its past can still end it (I3).
//!
//! Owns: its place. Never: its number; that may be another process's by now. Blocking.

use std::io;

use protocol::ids::ContainerId;

use super::SandboxFacts;
use crate::{cgroups::Cgroups, limits::INIT_LEAVES, sys::pidfd::PidFd};

/// Where a pod's first process is counted: under the pod's cgroup, beside its containers, so that the pod's limits
/// hold it too.
#[derive(Debug, Clone)]
pub struct PodInit {
    cgroups: Cgroups,
    parent: String,
    id: ContainerId,
}

impl PodInit {
    /// The place of a sandbox's, whether there is one or not.
    pub fn of(facts: &SandboxFacts, cgroups: &Cgroups) -> io::Result<Self> {
        let parent = match facts.config.cgroup_parent.as_str() {
            "" => cgroups.default_parent(),
            parent => parent.to_owned(),
        };
        // Sandboxes and containers have ids of one kind, and no two are the same.
        let id = ContainerId::parse(&facts.id).map_err(io::Error::other)?;
        Ok(Self { cgroups: cgroups.clone(), parent, id })
    }

    /// Moves a process there.
    pub(super) fn take_in(&self, pid: u32) -> io::Result<()> {
        self.cgroups.take_in(&self.parent, &self.id, pid)
    }

    /// Whether it lives.
    pub fn is_alive(&self) -> bool {
        !self.cgroups.is_empty(&self.parent, &self.id)
    }

    /// A handle to it; `None`: it has ended.
    pub fn handle(&self) -> io::Result<Option<PidFd>> {
        let members = self.cgroups.members(&self.parent, &self.id);
        for pid in members.pids() {
            let handle = PidFd::open(pid)?;
            // Looked at again with the handle open: the number may have come to mean another one.
            if handle.is_some() && members.pids().contains(&pid) {
                return Ok(handle);
            }
        }
        Ok(None)
    }

    /// Kills it, with all that is left in its namespace, and removes its place. Finds neither: fine.
    pub(super) fn end(&self) -> io::Result<()> {
        self.cgroups.end(&self.parent, &self.id, INIT_LEAVES)?;
        self.cgroups.remove(&self.parent, &self.id)
    }
}
