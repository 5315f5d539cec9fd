//! The container whose processes another one is to see: an ephemeral container for debugging joins its PID namespace.
//!
//! Owns: that it is the right process's namespace. Never: signals that process. The namespace is pinned when the
//! container is made, so that a number that came to mean another process can harm nothing later.

use std::{fs::OpenOptions, io, os::unix::fs::OpenOptionsExt, path::Path};

use protocol::ids::ContainerId;

use super::{Container, ContainerError, Containers, Parts, lifecycle::State};
use crate::sys;

/// The target of a container: it lives when this is made.
#[derive(Debug)]
pub struct Target(Container);

impl Target {
    /// Finds it: in the same pod, and running.
    pub fn find(containers: &Containers, sandbox_id: &str, wanted: &str) -> Result<Self, ContainerError> {
        let bad = |why: &str| ContainerError::Target { target: wanted.to_owned(), why: why.to_owned() };
        let target = containers.find(wanted)?.ok_or_else(|| bad("there is no such container"))?;
        if target.facts.sandbox_id != sandbox_id {
            return Err(bad("it is in another pod"));
        }
        let view = target.view();
        if view.state != State::Running || view.init_pid == 0 {
            return Err(bad(&format!("it is {}, not running", view.word())));
        }
        Ok(Self(target))
    }

    /// Pins its PID namespace. Blocking.
    pub(super) fn pin(&self, parts: &Parts, pin: &Path) -> Result<(), ContainerError> {
        let bad = |why: String| ContainerError::Target { target: self.0.facts.id.clone(), why };
        let id = ContainerId::parse(&self.0.facts.id).map_err(|e| bad(e.to_string()))?;
        let pid = self.0.view().init_pid;
        if pid == 0 {
            return Err(bad("it has ended".to_owned()));
        }
        let pinned =
            touch(pin).and_then(|()| sys::mounts::bind(Path::new(&format!("/proc/{pid}/ns/pid")), pin));
        pinned.map_err(|e| bad(format!("its PID namespace cannot be joined: {e}")))?;
        // Looked at after the pin: while the process is in the container's cgroup, the number meant it.
        if parts.cgroups.holds(&self.0.facts.cgroup_parent, &id, pid) {
            return Ok(());
        }
        let undone = sys::mounts::unmount(pin);
        Err(bad(format!("it ended meanwhile{}", undone.err().map(|e| format!(" ({e})")).unwrap_or_default())))
    }
}

fn touch(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
}
