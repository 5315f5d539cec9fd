//! Limits: what a container that wants more gets, and how its end is told.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cri_api::v1;
use tests::{
    ask,
    daemon::Daemon,
    host,
    image_file::{BUSYBOX, DEMO},
    limits::CGROUP_DEPTH,
    workload::{self, refused, run, script},
};

/// The file of one controller for a container, wherever the driver has put it; v1's and v2's name.
fn file(id: &str, v1: (&str, &str), v2: &str) -> String {
    let unified = host::cgroup_v2_only();
    let root = Path::new("/sys/fs/cgroup").join(if unified { "" } else { v1.0 });
    let folder =
        find(&root, id, CGROUP_DEPTH).unwrap_or_else(|| panic!("no cgroup of {id} below {}", root.display()));
    let path = folder.join(if unified { v2 } else { v1.1 });
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
}

fn find(folder: &Path, id: &str, depth: usize) -> Option<PathBuf> {
    let below = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let folders: Vec<PathBuf> = below.filter(|path| path.is_dir()).collect();
    let named = |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains(id));
    folders.iter().find(named).cloned().or_else(|| {
        let next = depth.checked_sub(1)?;
        folders.iter().find_map(|folder| find(folder, id, next))
    })
}

fn limited(
    mut config: v1::ContainerConfig,
    change: impl FnOnce(&mut v1::LinuxContainerResources),
) -> v1::ContainerConfig {
    change(config.linux.get_or_insert_default().resources.get_or_insert_default());
    config
}

#[test]
fn a_memory_hog_is_killed_and_called_so() {
    let Some(daemon) = workload::start() else { return };
    let pod = daemon.run_pod("p");
    for (name, config) in [
        ("first", ask::container("first", DEMO, &["mem", "600"])),
        // A child of the first process that takes too much: what critest does.
        ("child", script("child", BUSYBOX, "dd if=/dev/zero of=/dev/null bs=40M; exit $?")),
    ] {
        let config = limited(config, |r| {
            (r.memory_limit_in_bytes, r.memory_swap_limit_in_bytes) = (20 << 20, 20 << 20)
        });
        let id = daemon.create(&pod, &config);
        daemon.client().start_container(ask::start(&id)).unwrap();
        let status = daemon.exited(&id);
        assert_eq!((status.exit_code, status.reason.as_str()), (137, "OOMKilled"), "{name}: {status:?}");
    }
    let calm = limited(ask::container("calm", DEMO, &["exit", "3"]), |r| r.memory_limit_in_bytes = 20 << 20);
    let id = daemon.create(&pod, &calm);
    daemon.client().start_container(ask::start(&id)).unwrap();
    let status = daemon.exited(&id);
    assert_eq!((status.exit_code, status.reason.as_str()), (3, "Error"));
    // Without a word about swap there is none.
    let shown = status.resources.unwrap().linux.unwrap();
    assert_eq!(shown.memory_limit_in_bytes, 20 << 20);
}

#[test]
fn limits_reach_the_kernel() {
    let set = vec!["pids_limit=77".to_owned()];
    let Some(daemon) = Daemon::start_with(tests::daemon::Options { set, ..Default::default() }) else {
        return;
    };
    let pod = daemon.run_pod("p");
    let config = limited(ask::container("c", DEMO, &["sleep", "600"]), |r| {
        r.memory_limit_in_bytes = 64 << 20;
        (r.cpu_quota, r.cpu_period, r.cpu_shares) = (20_000, 100_000, 512);
        r.cpuset_cpus = "0".to_owned();
        r.oom_score_adj = -997;
        r.hugepage_limits =
            ["2MB", "1GB"].map(|size| v1::HugepageLimit { page_size: size.to_owned(), limit: 0 }).into();
    });
    let id = daemon.create(&pod, &config);
    daemon.client().start_container(ask::start(&id)).unwrap();
    assert_eq!(file(&id, ("memory", "memory.limit_in_bytes"), "memory.max"), (64 << 20).to_string());
    assert_eq!(file(&id, ("cpuset", "cpuset.cpus"), "cpuset.cpus"), "0");
    assert_eq!(file(&id, ("pids", "pids.max"), "pids.max"), "77");
    if host::cgroup_v2_only() {
        assert_eq!(file(&id, ("", ""), "cpu.max"), "20000 100000");
        assert_eq!(file(&id, ("", ""), "memory.swap.max"), "0");
    } else {
        assert_eq!(file(&id, ("cpu", "cpu.cfs_quota_us"), ""), "20000");
        assert_eq!(file(&id, ("cpu", "cpu.shares"), ""), "512");
        assert_eq!(file(&id, ("memory", "memory.memsw.limit_in_bytes"), ""), (64 << 20).to_string());
    }
    let shown = daemon.status(&id).resources.unwrap().linux.unwrap();
    assert_eq!((shown.oom_score_adj, shown.hugepage_limits.len()), (-997, 2));
}

#[test]
fn limits_that_mean_nothing_are_refused() {
    let Some(daemon) = workload::start() else { return };
    let pod = daemon.run_pod("p");
    let bad = |change: fn(&mut v1::LinuxContainerResources)| {
        refused(&daemon, &pod, &limited(script("bad", BUSYBOX, "true"), change)).message().to_owned()
    };
    assert!(
        bad(|r| (r.memory_limit_in_bytes, r.memory_swap_limit_in_bytes) = (2 << 20, 1 << 20))
            .contains("swap")
    );
    assert!(bad(|r| r.unified = [("../memory.max".into(), "1".into())].into()).contains("unified"));
    assert!(bad(|r| r.oom_score_adj = 1001).contains("oom_score_adj"));
    assert!(bad(|r| r.cpuset_cpus = "all".into()).contains("cpuset_cpus"));
    if !host::cgroup_v2_only() {
        assert!(bad(|r| r.unified = [("memory.oom.group".into(), "1".into())].into()).contains("cgroup v2"));
    }
}

#[test]
fn a_pod_is_counted_where_the_kubelet_says() {
    let set = vec!["cgroup_driver=cgroupfs".to_owned()];
    let options = tests::daemon::Options { set, ..Default::default() };
    let Some(mut daemon) = Daemon::start_with(options) else { return };
    if !workload::import(&mut daemon, BUSYBOX, &[], &serde_json::json!({})) {
        return;
    }
    let mut config = ask::pod("burst", &daemon.path("logs"));
    let parent = format!("/{}/burstable/pod1", daemon.instance());
    config.linux.as_mut().unwrap().cgroup_parent.clone_from(&parent);
    let id = daemon.client().run_pod_sandbox(ask::run(&config)).unwrap().pod_sandbox_id;
    let pod = tests::daemon::Pod { id, config };
    let ran = run(&daemon, &pod, &script("c", BUSYBOX, "cat /proc/self/cgroup"));
    assert!(ran.lines.iter().any(|line| line.contains(&ran.id) || line.ends_with(":/")), "{ran:?}");
    let id = daemon.run_sleeper(&pod, "s", BUSYBOX);
    let pid = daemon
        .nursery()
        .descendants()
        .into_iter()
        .find(|process| process.name == "sleep")
        .expect("it runs")
        .pid;
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(cgroups.contains(&format!("{parent}/{id}")), "{cgroups}");
    daemon.remove_pods();
    // The pod's own folder is the kubelet's; here nobody else removes it.
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().filter_map(Result::ok) {
        for folder in [parent.as_str(), parent.trim_end_matches("/pod1")] {
            fs::remove_dir(format!("{}{folder}", hierarchy.path().display())).ok();
            fs::remove_dir(format!("/sys/fs/cgroup{folder}")).ok();
        }
    }
}
