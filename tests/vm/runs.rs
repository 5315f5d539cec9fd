//! A pod runs with each runtime under each cgroup driver: in the place where the kubelet looks for it, with its limits,
//! and OOM is told.
//!
//! Never: a place that is only written down; each is read from the kernel and from systemd.

use std::{fs, path::Path};

use cri_api::v1::{self, CgroupDriver};
use tests::{ask, cri_log, image_file::DEMO};

use super::node::{Node, cgroup_of, run};

/// Memory of the containers, in bytes.
const MEMORY: i64 = 32 << 20;

/// Containers that run out of memory: systemd removes a dead one's cgroup, with the kernel's counter, at once.
const OOM_ROUNDS: usize = 3;

/// The kubelet's names for a pod's cgroup, by the driver.
const SLICE: &str = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice";
const FOLDER: &str = "/kubepods/burstable/pod1-2";

fn limited(name: &str, args: &[&str]) -> v1::ContainerConfig {
    let mut config = ask::container(name, DEMO, args);
    config.linux.get_or_insert_default().resources = Some(v1::LinuxContainerResources {
        memory_limit_in_bytes: MEMORY,
        cpu_quota: 50_000,
        cpu_period: 100_000,
        ..Default::default()
    });
    config
}

/// Below a pod's own cgroup, as the kubelet makes it, and below the daemon's own.
fn with(runtime: &str, driver: &str) {
    let node = Node::start(&[("default_runtime", runtime), ("cgroup_driver", driver)]);
    let is_systemd = driver == "systemd";
    let answer = node.client().runtime_config(v1::RuntimeConfigRequest::default()).unwrap();
    let told = answer.linux.unwrap().cgroup_driver();
    assert_eq!(told, if is_systemd { CgroupDriver::Systemd } else { CgroupDriver::Cgroupfs });
    let kubelets = if is_systemd { SLICE } else { FOLDER };
    for (name, parent) in [("kubelets", kubelets), ("own", "")] {
        let pod = node.run_pod(name, parent);
        let id = node.start_container(&pod, &limited("c", &["count", "0", "20"]));
        let (shim, first) = node.processes(&id);
        let place = cgroup_of(first);
        let scope = format!("taffrail-{id}.scope");
        let expected = match (is_systemd, parent) {
            (true, "") => format!("/taffrail.slice/{scope}"),
            (true, parent) => format!("{parent}/{scope}"),
            (false, "") => format!("/taffrail/{id}"),
            (false, parent) => format!("{parent}/{id}"),
        };
        assert_eq!(place, expected, "{runtime}, {driver}, {name}");
        if is_systemd {
            assert_eq!(run(&["systemctl", "is-active", &scope]), "active");
        }
        let folder = Path::new("/sys/fs/cgroup").join(&place[1..]);
        let file = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default().trim().to_owned();
        assert_eq!((file("memory.max"), file("cpu.max")), (MEMORY.to_string(), "50000 100000".to_owned()));
        assert_ne!(cgroup_of(shim), place);
        let answer = node.client().exec_sync(ask::exec(&id, &["/demo", "true"], 20)).unwrap();
        assert_eq!(answer.exit_code, 0);
        let stats = v1::ContainerStatsRequest { container_id: id.clone() };
        let stats = node.client().container_stats(stats).unwrap().stats.unwrap();
        assert!(stats.memory.unwrap().working_set_bytes.unwrap().value > 0, "what it uses can be read");
        node.client().stop_container(ask::stop(&id, 5)).unwrap();
        for round in 0..OOM_ROUNDS {
            let config = limited(&format!("hungry{round}"), &["mem", "256"]);
            let status = node.exited(&node.start_container(&pod, &config));
            assert_eq!((status.exit_code, status.reason.as_str()), (137, "OOMKilled"), "{status:?}");
        }
        assert!(!cri_log::read(&pod.log("c")).is_empty(), "there is a log");
    }
    // The kubelet's own, which it would remove.
    drop(node);
    if is_systemd {
        run(&["systemctl", "stop", "kubepods.slice"]);
    } else {
        for folder in Path::new(FOLDER).ancestors().filter(|folder| folder.parent().is_some()) {
            fs::remove_dir(format!("/sys/fs/cgroup{}", folder.display())).unwrap();
        }
    }
}

#[test]
fn runc_by_systemd() {
    with("runc", "systemd");
}

#[test]
fn runc_by_cgroupfs() {
    with("runc", "cgroupfs");
}

#[test]
fn crun_by_systemd() {
    with("crun", "systemd");
}

#[test]
fn crun_by_cgroupfs() {
    with("crun", "cgroupfs");
}
