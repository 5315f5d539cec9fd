//! What is stuck, and comes back: a stopped shim, a removal that cannot be done, a long probe.
//!
//! Never: waits for time to pass, but for the deadlines that are being tested.

use std::fs;

use cri_api::v1::{ContainerState, PodSandboxState};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tests::{
    ask,
    daemon::Daemon,
    eventually::{eventually, within},
    image_file::DEMO,
    limits::SOON,
};
use tonic::Code;

fn shim(daemon: &Daemon, id: &str) -> u32 {
    let shims = daemon.client().shims().unwrap().containers;
    shims.iter().find(|shim| shim.container_id == id).map_or(0, |shim| shim.shim_pid)
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// Clock ticks that the daemon has used.
fn ticks(daemon: &Daemon) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_container_that_comes_back_has_its_times_and_its_stop_signal() {
    let Some(mut daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("back");
    let id = daemon.run(&pod, "c", &["trap", "7", "600"]);
    let before = daemon.status(&id);
    let pid = shim(&daemon, &id);
    signal(pid, Signal::SIGSTOP);
    daemon.restart();
    assert_eq!(daemon.status(&id).state(), ContainerState::ContainerUnknown);
    signal(pid, Signal::SIGCONT);
    let after = eventually(SOON, "the shim's answer", || {
        Some(daemon.status(&id)).filter(|status| status.state() == ContainerState::ContainerRunning)
    });
    assert_eq!((after.created_at, after.started_at), (before.created_at, before.started_at));

    // An exec that the shim does not answer in time gives its connection up; the next ones have another.
    signal(pid, Signal::SIGSTOP);
    let error = daemon.client().exec_sync(ask::exec(&id, &["/demo", "true"], 30)).unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    signal(pid, Signal::SIGCONT);
    eventually(SOON, "an exec on a new connection", || {
        daemon.client().exec_sync(ask::exec(&id, &["/demo", "true"], 10)).ok()
    });
    daemon.client().stop_container(ask::stop(&id, 30)).unwrap();
    assert_eq!(daemon.exited(&id).exit_code, 7, "it was asked, not killed");
}

#[test]
fn a_removal_that_fails_is_told_once_and_can_be_asked_again() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("busy");
    let id = daemon.run(&pod, "c", &["exit", "3"]);
    daemon.exited(&id);
    let inside = daemon.path("root/containers").join(&id).join("x");
    fs::create_dir(&inside).unwrap();
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("tmpfs"), &inside, Some("tmpfs"), flags, None::<&str>).unwrap();
    let error = daemon.client().remove_container(ask::remove(&id)).unwrap_err();
    assert!(error.message().contains("could not be removed whole"), "{error}");
    let begun = ticks(&daemon);
    // Half a second in which a daemon that asks itself again would have used fifty ticks.
    let quiet = within(std::time::Duration::from_millis(500), || (ticks(&daemon) > begun + 20).then_some(()));
    assert!(quiet.is_none(), "the daemon is busy for nobody");
    nix::mount::umount2(&inside, nix::mount::MntFlags::MNT_DETACH).unwrap();
    daemon.client().remove_container(ask::remove(&id)).unwrap();
}

#[test]
fn a_probe_may_be_a_whole_script() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("probe");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    let long = "x".repeat(100_000);
    let answer = daemon.client().exec_sync(ask::exec(&id, &["/demo", "err", &long], 30)).unwrap();
    assert_eq!((answer.exit_code, answer.stderr.len()), (0, long.len() + 1));
    let longer = "x".repeat(200_000);
    let error = daemon.client().exec_sync(ask::exec(&id, &["/demo", "err", &longer], 30)).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
}

#[test]
fn a_stop_that_the_death_cut_short_is_ended_by_the_next_daemon() {
    let Some(mut daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("half");
    // As after a death between the mark and the taking down.
    fs::File::create(daemon.path("root/sandboxes").join(&pod.id).join("stopped")).unwrap();
    daemon.restart();
    let shm = daemon.path("state/sandboxes").join(&pod.id).join("shm");
    let mounted = || fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&*shm.to_string_lossy());
    eventually(SOON, "the end of its mounts", || (!mounted()).then_some(()));
    let status = daemon.client().pod_sandbox_status(ask::pod_status(&pod.id)).unwrap().status.unwrap();
    assert_eq!(status.state(), PodSandboxState::SandboxNotready);
}

#[test]
fn a_cgroup_parent_that_does_not_fit_the_driver_and_endless_labels_are_refused() {
    let options = tests::daemon::Options { set: vec!["cgroup_driver=cgroupfs".into()], ..Default::default() };
    let Some(daemon) = Daemon::start_with(options) else { return };
    let mut config = ask::pod("parent", &daemon.path("logs"));
    config.linux.get_or_insert_default().cgroup_parent = "some.slice".into();
    let error = daemon.client().run_pod_sandbox(ask::run(&config)).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    assert!(error.message().contains("cgroup_parent"), "{error}");
    let mut config = ask::pod("labels", &daemon.path("logs"));
    config.annotations.insert("a".into(), "x".repeat(1 << 20));
    let error = daemon.client().run_pod_sandbox(ask::run(&config)).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    let pod = daemon.run_pod("good");
    daemon.create(&pod, &ask::container("c", DEMO, &["true"]));
}
