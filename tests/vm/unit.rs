//! The unit: it starts, restarts and stops, and whatever runs for a container notices nothing.
//!
//! Never: asks the daemon alone whether a container lives; its log and its processes say so.

use std::path::Path;

use cri_api::v1::{self, ContainerState};
use tests::{ask, cri_log, daemon::Pod, eventually::eventually, image_file::DEMO, limits::SOON};

use super::node::{Node, UNIT, cgroup_of, run};

/// Lines that must have come after an event.
const LINES: usize = 10;

/// Where shims are, by systemd.
pub const SHIMS: &str = "taffrail-shims.scope";

/// A pod with a container that writes a line each 20 ms.
pub fn writer(node: &Node) -> (Pod, String) {
    let pod = node.run_pod("writer", "");
    let id = node.start_container(&pod, &ask::container("w", DEMO, &["count", "0", "20"]));
    (pod, id)
}

/// Waits until the container has written more.
pub fn goes_on(pod: &Pod) {
    let count = |log: &Path| cri_log::lines(&cri_log::read(log), "stdout").len();
    let log = pod.log("w");
    let before = if log.exists() { count(&log) } else { 0 };
    eventually(SOON, "the container's next lines", || {
        (log.exists() && count(&log) >= before + LINES).then_some(())
    });
}

/// Every line once and in order.
pub fn is_whole(pod: &Pod) {
    for (at, line) in cri_log::lines(&cri_log::read(&pod.log("w")), "stdout").iter().enumerate() {
        assert_eq!(*line, format!("line {}", at + 1));
    }
}

#[test]
fn the_unit_starts_answers_and_stops() {
    let node = Node::start(&[]);
    assert_eq!(run(&["systemctl", "is-active", UNIT]), "active");
    let answer = node.client().version(v1::VersionRequest::default()).unwrap();
    assert_eq!(answer.runtime_name, "taffrail");
    let config = node.command(&["config"]);
    assert!(config.contains("systemd"), "the driver where systemd runs: {config}");
    node.command(&["check"]);
}

#[test]
fn restart_and_stop_leave_everything_alive() {
    let node = Node::start(&[]);
    let (pod, id) = writer(&node);
    goes_on(&pod);
    let (before, keeper) = (node.processes(&id), node.keeper());
    assert!(cgroup_of(before.0).ends_with(&format!("/{SHIMS}")), "the shim is in {}", cgroup_of(before.0));
    assert_eq!(run(&["systemctl", "show", "-P", "Delegate", SHIMS]), "yes");
    let old = node.daemon().unwrap();
    run(&["systemctl", "restart", UNIT]);
    assert_ne!(node.daemon(), Some(old));
    assert_eq!((node.processes(&id), node.keeper()), (before, keeper));
    goes_on(&pod);
    run(&["systemctl", "stop", UNIT]);
    goes_on(&pod);
    // All of the service is gone, so that nothing stands in the way of the next start.
    assert!(!Path::new("/sys/fs/cgroup/system.slice/taffrail.service").exists());
    run(&["systemctl", "daemon-reexec"]);
    run(&["systemctl", "start", UNIT]);
    assert_eq!((node.processes(&id), node.keeper()), (before, keeper));
    assert_eq!(node.status(&id).state(), ContainerState::ContainerRunning);
    goes_on(&pod);
    node.client().stop_container(ask::stop(&id, 5)).unwrap();
    is_whole(&pod);
}
