//! A life through a file system that is full, in parts: who is there, what is refused, what ends, a death of the daemon,
//! and room again.
//!
//! Owns: what must hold on any of them. Never: which file system it is, or how it is filled.

use std::{fs, path::Path};

use cri_api::v1::{self, ContainerState};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tests::{
    ask,
    daemon::{Daemon, Pod},
    eventually::eventually,
    image_file::DEMO,
    limits::SOON,
};

/// What there is no more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Blocks,
    Inodes,
}

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
pub(crate) fn put(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::write(path, bytes)
}

/// Who is there when it becomes full.
pub(crate) struct Cast {
    pub(crate) pods: Vec<Pod>,
    pub(crate) stopped: String,
    pub(crate) trapping: String,
    pub(crate) created: String,
    pub(crate) running: String,
    pub(crate) killed: String,
}

impl Cast {
    pub(crate) fn make(daemon: &mut Daemon) -> Self {
        // The first pod makes what stays.
        let first = daemon.run_pod("first");
        daemon.run(&first, "c", &["true"]);
        daemon.remove_pods();
        daemon.settle();
        let pods: Vec<_> = ["one", "two", "three"].map(|name| daemon.run_pod(name)).into();
        Self {
            stopped: daemon.run(&pods[0], "stopped", &["sleep", "600"]),
            trapping: daemon.run(&pods[0], "trapping", &["trap", "7", "600"]),
            created: daemon.create(&pods[0], &ask::container("created", DEMO, &["true"])),
            running: daemon.run(&pods[1], "running", &["sleep", "600"]),
            killed: daemon.run(&pods[1], "killed", &["sleep", "600"]),
            pods,
        }
    }

    /// All are listed. What needs room is refused, in words, and leaves nothing.
    pub(crate) fn are_listed_and_no_more_come(&self, daemon: &Daemon) {
        let client = daemon.client();
        let listed = client.list_containers(v1::ListContainersRequest::default()).unwrap().containers.len();
        assert_eq!(listed, 5);
        let config = ask::pod("more", &daemon.path("logs"));
        is_refused("a pod", client.run_pod_sandbox(ask::run(&config)));
        let (pod, more) = (&self.pods[1], ask::container("more", DEMO, &["true"]));
        is_refused("a container", client.create_container(ask::create(&pod.id, &more, &pod.config)));
    }

    /// An end is told as it was.
    pub(crate) fn end(daemon: &Daemon, what: Full, ends: &[(&str, i32)]) {
        for &(id, code) in ends {
            let grace = if code == 7 { 30 } else { 0 };
            let stopped = daemon.client().stop_container(ask::stop(id, grace));
            stopped.unwrap_or_else(|e| panic!("{what:?}: stop: {e}"));
            assert_eq!(daemon.exited(id).exit_code, code, "{what:?}");
        }
    }

    /// The daemon dies and starts where it is quite full; meanwhile something ends. Then two pods go.
    pub(crate) fn live_through_a_death(&self, daemon: &mut Daemon, what: Full) {
        let shims = daemon.client().shims().unwrap().containers;
        let pid = shims.iter().find(|shim| shim.container_id == self.killed).unwrap().init_pid;
        daemon.kill9();
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
        daemon.launch();
        assert_eq!(daemon.status(&self.running).state(), ContainerState::ContainerRunning, "{what:?}");
        assert_eq!(daemon.exited(&self.killed).exit_code, 137, "{what:?}");
        assert_eq!(daemon.status(&self.trapping).exit_code, 7, "{what:?}");
        let client = daemon.client();
        for pod in &self.pods[..2] {
            client.stop_pod_sandbox(ask::stop_pod(&pod.id)).unwrap_or_else(|e| panic!("{what:?}: {e}"));
            client.remove_pod_sandbox(ask::remove_pod(&pod.id)).unwrap_or_else(|e| panic!("{what:?}: {e}"));
        }
    }

    /// There is room: all is well, in a new pod and in the third, which lived through it.
    pub(crate) fn have_room_again(&self, daemon: &Daemon, what: Full) {
        let pod = daemon.run_pod("after");
        let id = daemon.run(&pod, "c", &["exit", "4"]);
        assert_eq!(daemon.exited(&id).exit_code, 4, "{what:?}");
        daemon.create(&self.pods[2], &ask::container("c", DEMO, &["true"]));
        eventually(SOON, "three pods' end", || {
            daemon.remove_pods();
            let left = daemon.client().list_pod_sandbox(v1::ListPodSandboxRequest::default()).unwrap().items;
            left.is_empty().then_some(())
        });
    }
}

pub(crate) fn is_refused<T: std::fmt::Debug>(what: &str, answer: Result<T, tonic::Status>) {
    let error = answer.expect_err(what);
    // The runtime's own words begin small.
    assert!(error.message().to_lowercase().contains("no space left"), "{what}: {error}");
}
