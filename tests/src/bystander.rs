//! A container of another pod: whatever happens to the daemon, or to other shims, it does not notice.
//!
//! Owns: its pod. Never: restarts it.

use crate::{
    ask,
    daemon::{Daemon, Pod},
    eventually::eventually,
    image_file::BUSYBOX,
    limits::SOON,
    workload,
};
use cri_api::v1::ContainerState;

/// What it ends with when it is asked to.
const CODE: i32 = 42;

/// A container that runs all the while.
#[derive(Debug)]
pub struct Bystander {
    pod: Pod,
    id: String,
    processes: (u32, u32),
    times: (i64, i64),
}

impl Bystander {
    /// Starts it, from an image of its own. `None`: the host has no such image, the test is skipped.
    pub fn start(daemon: &mut Daemon) -> Option<Self> {
        if !workload::import(daemon, BUSYBOX, &[], &serde_json::json!({})) {
            return None;
        }
        let pod = daemon.run_pod("bystander");
        let script = "trap 'exit 42' TERM; while :; do sleep 1000 & wait $!; done";
        let id = daemon.create(&pod, &workload::script("c", BUSYBOX, script));
        daemon.client().start_container(ask::start(&id)).expect("it starts");
        // All of it is there: nothing of it must look like a leak later.
        eventually(SOON, "the script's sleep", || {
            daemon.nursery().descendants().iter().any(|process| process.name == "sleep").then_some(())
        });
        let processes = processes(daemon, &id);
        assert!(processes.0 > 0 && processes.1 > 0, "its shim and its program are known");
        let status = daemon.status(&id);
        daemon.settle();
        Some(Self { pod, id, processes, times: (status.created_at, status.started_at) })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// It is the same, and it runs.
    pub fn check(&self, daemon: &Daemon, after: &str) {
        // A daemon that was just started may not have asked its shim yet.
        let status = eventually(SOON, "the bystander's state", || {
            Some(daemon.status(&self.id)).filter(|status| status.state() != ContainerState::ContainerUnknown)
        });
        assert_eq!(status.state(), ContainerState::ContainerRunning, "after {after}: the bystander");
        assert_eq!(
            (status.created_at, status.started_at),
            self.times,
            "after {after}: the bystander's times"
        );
        assert_eq!(processes(daemon, &self.id), self.processes, "after {after}: its shim and its program");
    }

    /// Ends it: the code is its own.
    pub fn end(self, daemon: &Daemon) {
        daemon.client().stop_container(ask::stop(&self.id, 30)).expect("it can be stopped");
        assert_eq!(daemon.exited(&self.id).exit_code, CODE, "the bystander's exit code");
        daemon.client().stop_pod_sandbox(ask::stop_pod(&self.pod.id)).expect("its pod can be stopped");
    }
}

fn processes(daemon: &Daemon, id: &str) -> (u32, u32) {
    let shims = daemon.client().shims().expect("the daemon answers").containers;
    shims.iter().find(|shim| shim.container_id == id).map_or((0, 0), |shim| (shim.shim_pid, shim.init_pid))
}
