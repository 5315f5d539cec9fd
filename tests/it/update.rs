//! Limits changed while a container lives, before it starts, and when they do not fit.
//!
//! Never: a limit that is taken from our own answer alone; the cgroup's file is read too.

use std::{fs, path::PathBuf};

use cri_api::v1;
use tests::{ask, crictl::Crictl, daemon::Daemon, host, image_file::DEMO};
use tonic::Code;

const MIB: i64 = 1 << 20;

/// Where the container's memory limit stands.
fn memory_file(daemon: &Daemon, id: &str) -> PathBuf {
    let place = format!("{}/{id}", daemon.instance());
    if host::cgroup_v2_only() {
        PathBuf::from("/sys/fs/cgroup").join(place).join("memory.max")
    } else {
        PathBuf::from("/sys/fs/cgroup/memory").join(place).join("memory.limit_in_bytes")
    }
}

fn memory_limit(daemon: &Daemon, id: &str) -> i64 {
    let path = memory_file(daemon, id);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().parse().unwrap_or(-1)
}

fn told(daemon: &Daemon, id: &str) -> v1::LinuxContainerResources {
    daemon.status(id).resources.and_then(|resources| resources.linux).expect("always told")
}

fn memory(limit: i64) -> v1::LinuxContainerResources {
    v1::LinuxContainerResources { memory_limit_in_bytes: limit, ..Default::default() }
}

#[test]
fn a_running_container_takes_new_limits_and_keeps_them_over_a_restart() {
    let Some(mut daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("live");
    let mut wish = ask::container("c", DEMO, &["sleep", "600"]);
    let first = v1::LinuxContainerResources {
        cpu_shares: 256,
        memory_limit_in_bytes: 64 * MIB,
        ..Default::default()
    };
    wish.linux = Some(v1::LinuxContainerConfig { resources: Some(first), ..Default::default() });
    let id = daemon.create(&pod, &wish);
    daemon.client().start_container(ask::start(&id)).unwrap();
    assert_eq!(memory_limit(&daemon, &id), 64 * MIB);
    daemon.client().update_container_resources(ask::update(&id, memory(96 * MIB))).unwrap();
    assert_eq!(memory_limit(&daemon, &id), 96 * MIB);
    let now = told(&daemon, &id);
    assert_eq!((now.memory_limit_in_bytes, now.cpu_shares), (96 * MIB, 256), "what was not asked stays");
    daemon.restart();
    assert_eq!(told(&daemon, &id).memory_limit_in_bytes, 96 * MIB);
    daemon.client().update_container_resources(ask::update(&id, memory(48 * MIB))).unwrap();
    assert_eq!(memory_limit(&daemon, &id), 48 * MIB, "down again");
}

#[test]
fn a_container_that_was_not_started_takes_them_at_its_start() {
    let Some(mut daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("early");
    let id = daemon.create(&pod, &ask::container("c", DEMO, &["sleep", "600"]));
    daemon.client().update_container_resources(ask::update(&id, memory(80 * MIB))).unwrap();
    assert_eq!(told(&daemon, &id).memory_limit_in_bytes, 80 * MIB);
    daemon.restart();
    daemon.client().start_container(ask::start(&id)).unwrap();
    assert_eq!(memory_limit(&daemon, &id), 80 * MIB);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("no");
    let id = daemon.run(&pod, "c", &["mem", "32"]);
    let refused = |limits: v1::LinuxContainerResources| {
        daemon.client().update_container_resources(ask::update(&id, limits)).unwrap_err()
    };
    tests::eventually::eventually(tests::limits::SOON, "the memory in use", || {
        let request = v1::ContainerStatsRequest { container_id: id.clone() };
        let memory = daemon.client().container_stats(request).unwrap().stats?.memory?;
        (memory.usage_bytes?.value >= 32 << 20).then_some(())
    });
    let low = refused(memory(MIB));
    assert!(low.message().contains("below current usage"), "{low}");
    // The second half of the wish cannot be: the first is taken back.
    let before = memory_limit(&daemon, &id);
    let both = v1::LinuxContainerResources { cpuset_cpus: "4000".into(), ..memory(512 * MIB) };
    let error = refused(both);
    assert!(error.message().contains("update"), "{error}");
    let now = told(&daemon, &id);
    assert_eq!((now.memory_limit_in_bytes, now.cpuset_cpus.as_str()), (0, ""), "{error}");
    assert_eq!(memory_limit(&daemon, &id), before, "the kernel's limit is as before");
    daemon.client().stop_container(ask::stop(&id, 0)).unwrap();
    assert_eq!(refused(memory(64 * MIB)).code(), Code::FailedPrecondition, "it has ended");
    let nobody = ask::update("feedfeed", memory(64 * MIB));
    assert_eq!(daemon.client().update_container_resources(nobody).unwrap_err().code(), Code::NotFound);
}

#[test]
fn crictl_updates() {
    let Some(daemon) = Daemon::start() else { return };
    let Some(crictl) = Crictl::new(&daemon) else { return };
    let pod = daemon.run_pod("crictl");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    crictl.run(&["update", "--memory", &(64 * MIB).to_string(), "--cpu-share", "128", &id]);
    assert_eq!(memory_limit(&daemon, &id), 64 * MIB);
    assert_eq!(told(&daemon, &id).cpu_shares, 128);
}
