//! PID namespaces: a pod's own with its first process, each container's, the host's, and another container's.

use std::fs;

use cri_api::v1::{self, NamespaceMode};
use tests::{
    ask,
    daemon::{Daemon, Pod},
    eventually::eventually,
    image_file::{BUSYBOX, DEMO},
    limits::SOON,
    workload::{self, refused, run, script, security},
};

/// Names of processes below the nursery.
fn named(daemon: &Daemon, name: &str) -> usize {
    daemon
        .nursery()
        .descendants()
        .iter()
        .filter(|process| process.name == name && process.state != 'Z')
        .count()
}

/// As the kernel does when memory runs out.
fn kill_init(daemon: &Daemon) {
    let all = daemon.nursery().descendants();
    let init = all.into_iter().find(|process| process.name == "taffrail-init").expect("it runs");
    let pid = nix::unistd::Pid::from_raw(init.pid.cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it can be killed");
}

fn options(mode: NamespaceMode) -> v1::NamespaceOption {
    v1::NamespaceOption { pid: mode as i32, ..Default::default() }
}

/// A pod with this PID mode.
fn pod(daemon: &Daemon, name: &str, mode: NamespaceMode) -> Pod {
    let mut config = ask::pod(name, &daemon.path("logs"));
    let linux = config.linux.as_mut().expect("a kubelet gives it");
    linux.security_context.get_or_insert_default().namespace_options = Some(options(mode));
    let answer = daemon.client().run_pod_sandbox(ask::run(&config));
    Pod { id: answer.unwrap_or_else(|e| panic!("pod {name}: {e}")).pod_sandbox_id, config }
}

fn with_mode(mut config: v1::ContainerConfig, mode: NamespaceMode) -> v1::ContainerConfig {
    security(&mut config).namespace_options = Some(options(mode));
    config
}

fn started(daemon: &Daemon, pod: &Pod, config: &v1::ContainerConfig) -> String {
    let id = daemon.create(pod, config);
    daemon.client().start_container(ask::start(&id)).unwrap_or_else(|e| panic!("start: {e}"));
    id
}

#[test]
fn a_pod_shares_one_namespace_whose_first_process_reaps() {
    let Some(daemon) = workload::start() else { return };
    let pod = pod(&daemon, "shared", NamespaceMode::Pod);
    let status = daemon.client().pod_sandbox_status(ask::pod_status(&pod.id)).unwrap().status.unwrap();
    let namespaces = status.linux.unwrap().namespaces.unwrap().options.unwrap();
    assert_eq!(namespaces.pid, NamespaceMode::Pod as i32);
    assert_eq!(named(&daemon, "taffrail-init"), 1);
    let sleeper = with_mode(ask::container("sleeper", DEMO, &["sleep", "600"]), NamespaceMode::Pod);
    let sleeper = started(&daemon, &pod, &sleeper);
    // An orphan that ends: who reaps it must be the pod's first process, and nothing may stay a zombie.
    let look =
        "cat /proc/1/comm; ps | grep -c '[d]emo sleep'; (sleep 0.1 &) ; sleep 0.5; ps -o stat | grep -c Z";
    let seen = run(&daemon, &pod, &with_mode(script("look", BUSYBOX, look), NamespaceMode::Pod));
    assert_eq!(seen.lines, ["taffrail-init", "1", "0"], "{seen:?}");
    // It has no rights, no files, and cannot be looked into.
    let look = "grep -E 'CapEff|CapBnd|NoNewPrivs|^Seccomp:' /proc/1/status | tr -s '\\t ' ' '; ls /proc/1/root/ || echo shut; kill -9 1; echo alive";
    let mut config = with_mode(script("inside", BUSYBOX, look), NamespaceMode::Pod);
    security(&mut config).capabilities =
        Some(v1::Capability { add_capabilities: vec!["SYS_PTRACE".to_owned()], ..Default::default() });
    let seen = run(&daemon, &pod, &config);
    let text = seen.lines.join("\n");
    for line in ["CapEff: 0000000000000000", "CapBnd: 0000000000000000", "NoNewPrivs: 1", "alive"] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(
        !text.contains("etc") && !text.contains("root\n"),
        "nothing of the host is seen through it: {text}"
    );
    // The end of one container is not that of another, but what it leaves behind ends with it.
    let tree = with_mode(ask::container("tree", DEMO, &["orphan", "600"]), NamespaceMode::Pod);
    let tree = started(&daemon, &pod, &tree);
    daemon.exited(&tree);
    eventually(SOON, "the orphan's end", || (named(&daemon, "demo") == 1).then_some(()));
    assert_eq!(daemon.status(&sleeper).state(), v1::ContainerState::ContainerRunning);
    daemon.client().stop_pod_sandbox(ask::stop_pod(&pod.id)).unwrap();
    assert_eq!(named(&daemon, "taffrail-init"), 0);
    assert_eq!(daemon.status(&sleeper).exit_code, 137);
}

#[test]
fn the_wires_default_is_the_pods_namespace() {
    let Some(daemon) = workload::start() else { return };
    let mut config = ask::pod("bare", &daemon.path("logs"));
    config.linux = None;
    let id = daemon.client().run_pod_sandbox(ask::run(&config)).unwrap().pod_sandbox_id;
    let pod = Pod { id, config };
    let mut config = script("c", BUSYBOX, "cat /proc/1/comm");
    config.linux = None;
    assert_eq!(run(&daemon, &pod, &config).lines, ["taffrail-init"]);
}

#[test]
fn a_shared_namespace_survives_the_daemon() {
    let Some(mut daemon) = workload::start() else { return };
    let pod = pod(&daemon, "shared", NamespaceMode::Pod);
    let config = with_mode(ask::container("sleeper", DEMO, &["sleep", "600"]), NamespaceMode::Pod);
    let id = started(&daemon, &pod, &config);
    daemon.restart();
    assert_eq!(daemon.status(&id).state(), v1::ContainerState::ContainerRunning);
    assert_eq!(named(&daemon, "taffrail-init"), 1);
    let seen =
        run(&daemon, &pod, &with_mode(script("look", BUSYBOX, "cat /proc/1/comm"), NamespaceMode::Pod));
    assert_eq!(seen.lines, ["taffrail-init"]);
    // Its first process killed, the pod is over: a start finds that out.
    daemon.kill9();
    kill_init(&daemon);
    daemon.launch();
    assert_eq!(daemon.exited(&id).exit_code, 137);
    let list = daemon.client().list_pod_sandbox(v1::ListPodSandboxRequest::default()).unwrap();
    assert_eq!(list.items[0].state(), v1::PodSandboxState::SandboxNotready);
}

#[test]
fn a_pod_ends_with_its_first_process() {
    let Some(daemon) = workload::start() else { return };
    let pod = pod(&daemon, "shared", NamespaceMode::Pod);
    let config = with_mode(ask::container("sleeper", DEMO, &["sleep", "600"]), NamespaceMode::Pod);
    let id = started(&daemon, &pod, &config);
    kill_init(&daemon);
    assert_eq!(daemon.exited(&id).exit_code, 137);
    eventually(SOON, "the pod to be stopped", || {
        let list = daemon.client().list_pod_sandbox(v1::ListPodSandboxRequest::default()).ok()?;
        (list.items[0].state() == v1::PodSandboxState::SandboxNotready).then_some(())
    });
}

#[test]
fn each_container_has_its_own_or_the_hosts() {
    let Some(daemon) = workload::start() else { return };
    let own = pod(&daemon, "own", NamespaceMode::Container);
    let seen =
        run(&daemon, &own, &with_mode(script("c", BUSYBOX, "cat /proc/1/comm"), NamespaceMode::Container));
    assert_eq!(seen.lines, ["cat"]);
    assert_eq!(named(&daemon, "taffrail-init"), 0, "nobody asked for one");
    let error = refused(&daemon, &own, &with_mode(script("p", BUSYBOX, "true"), NamespaceMode::Pod));
    assert!(error.message().contains("namespace_options.pid"), "{error}");
    let host = pod(&daemon, "host", NamespaceMode::Node);
    let seen = run(&daemon, &host, &with_mode(script("c", BUSYBOX, "cat /proc/1/comm"), NamespaceMode::Node));
    assert_eq!(seen.lines, [fs::read_to_string("/proc/1/comm").unwrap().trim()]);
}

#[test]
fn an_ephemeral_container_joins_its_target() {
    let Some(daemon) = workload::start() else { return };
    let pod = pod(&daemon, "own", NamespaceMode::Container);
    let target = with_mode(ask::container("target", DEMO, &["sleep", "600"]), NamespaceMode::Container);
    let target = started(&daemon, &pod, &target);
    let towards = |name: &str, id: &str| {
        let mut config =
            script(name, BUSYBOX, "cat /proc/1/comm; cat /proc/1/root/demo | head -c 4 | grep -c ELF");
        let mut options = options(NamespaceMode::Target);
        options.target_id = id.to_owned();
        let security = security(&mut config);
        security.namespace_options = Some(options);
        security.capabilities =
            Some(v1::Capability { add_capabilities: vec!["SYS_PTRACE".to_owned()], ..Default::default() });
        config
    };
    let seen = run(&daemon, &pod, &towards("debug", &target));
    assert_eq!(seen.lines.first().map(String::as_str), Some("demo"), "{seen:?}");
    let other = self::pod(&daemon, "other", NamespaceMode::Container);
    for (pod, id, word) in [
        (&other, target.as_str(), "another pod"),
        (&pod, seen.id.as_str(), "not running"),
        (&pod, "ffff", "no such"),
    ] {
        let error = refused(&daemon, pod, &towards("bad", id));
        assert!(error.message().contains("target_id") && error.message().contains(word), "{error}");
    }
    assert_eq!(daemon.status(&target).state(), v1::ContainerState::ContainerRunning);
}
