//! The init process of a running container, by a handle of the daemon's own: where shim and keeper are killed, the kernel
//! may still tell how it ended.
//!
//! Owns: one handle. Never: waits for a process; signals one.

use protocol::{exit_record::ExitStatus, ids::ContainerId};

use super::{ContainerFacts, Parts};
use crate::{
    sys::pidfd::PidFd,
    tasks::{Pool, blocking},
};

/// The handle, once there is a process.
#[derive(Debug, Default)]
pub(super) struct Witness(Option<PidFd>);

impl Witness {
    /// The shim names the init process. A number alone is not believed: it must be in the container's cgroup.
    pub(super) async fn meet(&mut self, pid: i32, facts: &ContainerFacts, parts: &Parts, id: &ContainerId) {
        if self.0.is_some() || pid <= 1 {
            return;
        }
        let Ok(Some(handle)) = PidFd::open(pid) else { return };
        let members = parts.cgroups.members(&facts.cgroup_parent, id);
        if blocking(Pool::Disk, move || members.pids().contains(&pid)).await {
            self.0 = Some(handle);
        }
    }

    /// Whether it had ended before anybody killed it.
    pub(super) fn has_ended(&self) -> bool {
        self.0.as_ref().is_some_and(PidFd::has_ended)
    }

    /// How it ended, where that can still be told. Blocking.
    pub(super) fn status(&self) -> Option<ExitStatus> {
        decode(self.0.as_ref()?.wait_status()?)
    }
}

/// From a wait status (wait(2)).
fn decode(status: i32) -> Option<ExitStatus> {
    match u8::try_from(status & 0x7f).ok()? {
        0 => u8::try_from(status >> 8 & 0xff).ok().map(ExitStatus::Exited),
        signal => Some(ExitStatus::Signaled(signal)),
    }
}

#[cfg(test)]
mod tests {
    use protocol::exit_record::ExitStatus;

    use super::decode;

    #[test]
    fn wait_statuses_are_read() {
        assert_eq!(decode(4 << 8), Some(ExitStatus::Exited(4)));
        assert_eq!(decode(0), Some(ExitStatus::Exited(0)));
        assert_eq!(decode(9), Some(ExitStatus::Signaled(9)));
        assert_eq!(decode(0x80 | 11), Some(ExitStatus::Signaled(11)));
    }
}
