//! What containers and pods use, as the kubelet and crictl ask for it.
//!
//! Never: a figure that is compared with a wish; only with what the container was told to do.

use cri_api::v1;
use tests::{ask, crictl::Crictl, daemon::Daemon, eventually::eventually, image_file::DEMO, limits::SOON};

const MIB: u64 = 1 << 20;

fn stats_of(daemon: &Daemon, id: &str) -> v1::ContainerStats {
    let request = v1::ContainerStatsRequest { container_id: id.to_owned() };
    daemon.client().container_stats(request).unwrap().stats.expect("an answer has its stats")
}

fn listed(daemon: &Daemon, filter: v1::ContainerStatsFilter) -> Vec<String> {
    let request = v1::ListContainerStatsRequest { filter: Some(filter) };
    let stats = daemon.client().list_container_stats(request).unwrap().stats;
    let mut ids: Vec<String> =
        stats.into_iter().map(|stats| stats.attributes.expect("never absent").id).collect();
    ids.sort();
    ids
}

#[test]
fn memory_processor_and_disk_of_a_container() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("stats");
    let id = daemon.run(&pod, "mem", &["mem", "24"]);
    let stats = eventually(SOON, "the memory in use", || {
        let stats = stats_of(&daemon, &id);
        let rss = stats.memory.as_ref()?.rss_bytes.as_ref()?.value;
        (rss >= 24 * MIB).then_some(stats)
    });
    let attributes = stats.attributes.clone().unwrap();
    assert_eq!((attributes.id.as_str(), attributes.metadata.unwrap().name.as_str()), (id.as_str(), "mem"));
    let memory = stats.memory.unwrap();
    assert!(memory.working_set_bytes.unwrap().value >= 24 * MIB && memory.timestamp > 0);
    assert!(memory.available_bytes.is_none(), "without a limit nothing is said of what is left");
    let cpu = stats.cpu.unwrap();
    assert!(cpu.usage_core_nano_seconds.unwrap().value > 0 && cpu.timestamp > 0);
    let later =
        eventually(SOON, "a rate of the processor's use", || stats_of(&daemon, &id).cpu?.usage_nano_cores);
    assert!(later.value < 64 * 1_000_000_000, "{later:?}");
    let written = daemon.run(&pod, "write", &["sleep", "600"]);
    let before = stats_of(&daemon, &written).writable_layer.unwrap();
    assert!(before.inodes_used.unwrap().value >= 1 && before.timestamp > 0);
    assert!(before.fs_id.is_some(), "the kubelet looks into it without asking");
}

#[test]
fn lists_are_filtered_and_hold_what_runs() {
    let Some(daemon) = Daemon::start() else { return };
    let (a, b) = (daemon.run_pod("a"), daemon.run_pod("b"));
    let one = daemon.run(&a, "one", &["sleep", "600"]);
    let two = daemon.run(&b, "two", &["sleep", "600"]);
    let over = daemon.run(&b, "over", &["exit", "0"]);
    daemon.exited(&over);
    daemon.create(&b, &ask::container("created", DEMO, &["sleep", "1"]));
    let mut both = vec![one.clone(), two.clone()];
    both.sort();
    assert_eq!(listed(&daemon, v1::ContainerStatsFilter::default()), both);
    let of_b = v1::ContainerStatsFilter { pod_sandbox_id: b.id.clone(), ..Default::default() };
    assert_eq!(listed(&daemon, of_b), [two]);
    let by_id = v1::ContainerStatsFilter { id: one.chars().take(12).collect(), ..Default::default() };
    assert_eq!(listed(&daemon, by_id), [one]);
    let by_label = v1::ContainerStatsFilter {
        label_selector: [("no".to_owned(), "such".to_owned())].into(),
        ..Default::default()
    };
    assert!(listed(&daemon, by_label).is_empty());
    let none = v1::ContainerStatsRequest { container_id: "feedfeed".into() };
    assert_eq!(daemon.client().container_stats(none).unwrap_err().code(), tonic::Code::NotFound);
}

#[test]
fn a_pod_tells_its_processes_and_its_containers() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("pod");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    let request = v1::PodSandboxStatsRequest { pod_sandbox_id: pod.id.clone() };
    let stats = daemon.client().pod_sandbox_stats(request).unwrap().stats.unwrap();
    assert_eq!(stats.attributes.unwrap().metadata.unwrap().name, "pod");
    let linux = stats.linux.expect("the kubelet looks into it without asking");
    assert_eq!(linux.containers.len(), 1);
    assert_eq!(linux.containers[0].attributes.as_ref().unwrap().id, id);
    assert!(linux.process.unwrap().process_count.unwrap().value >= 1);
    assert!(linux.cpu.unwrap().timestamp > 0 && linux.memory.unwrap().usage_bytes.unwrap().value > 0);
    let list = daemon.client().list_pod_sandbox_stats(v1::ListPodSandboxStatsRequest::default()).unwrap();
    assert_eq!(list.stats.len(), 1);
}

#[test]
fn crictl_prints_them() {
    let Some(daemon) = Daemon::start() else { return };
    let Some(crictl) = Crictl::new(&daemon) else { return };
    let pod = daemon.run_pod("table");
    let id = daemon.run(&pod, "c", &["mem", "8"]);
    let short: String = id.chars().take(13).collect();
    let table = crictl.run(&["stats"]);
    assert!(table.contains(&short), "{table}");
    let table = crictl.run(&["statsp"]);
    assert!(table.contains("table"), "{table}");
}
