//! A daemon that is killed with many containers serves again at once, and one hung shim delays only itself.
//!
//! The times are printed, not asserted. Never: a shim that is not ours.

use std::time::{Duration, Instant};

use cri_api::v1::{self, ContainerState};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tests::{
    ask,
    daemon::{Daemon, Options},
    eventually::eventually,
    host,
    image_file::DEMO,
    limits::SOON,
};

/// How many containers there are: those of the issue in the long form.
fn count() -> usize {
    if host::full() { 300 } else { 40 }
}

/// Containers of one pod.
const PER_POD: usize = 10;

fn fill(daemon: &Daemon) -> Vec<String> {
    let pods: Vec<_> = (0..count() / PER_POD).map(|nr| daemon.run_pod(&format!("pod{nr}"))).collect();
    let make = |nr: usize| {
        let pod = &pods[nr / PER_POD];
        let config = ask::container(&format!("c{nr}"), DEMO, &["sleep", "6000"]);
        let id = daemon.create(pod, &config);
        daemon.client().start_container(ask::start(&id)).unwrap();
        id
    };
    (0..count()).map(make).collect()
}

/// Kills the daemon and starts it; how long it takes to serve, and until all containers show as running.
fn restart(daemon: &mut Daemon, running: usize) -> (Duration, Duration) {
    daemon.kill9();
    let begun = Instant::now();
    daemon.launch();
    let serving = begun.elapsed();
    eventually(SOON, "all to be known", || {
        let answer = daemon.client().list_containers(v1::ListContainersRequest::default()).unwrap();
        let known =
            answer.containers.iter().filter(|c| c.state() == ContainerState::ContainerRunning).count();
        (known == running).then_some(())
    });
    (serving, begun.elapsed())
}

#[test]
fn many_containers_are_adopted_at_once() {
    // Without addresses: they are not what is measured.
    let options = Options { set: vec!["network=none".into()], ..Options::default() };
    let Some(mut daemon) = Daemon::start_with(options) else { return };
    let ids = fill(&daemon);
    for _ in 0..3 {
        let (serving, known) = restart(&mut daemon, count());
        host::figure(&format!(
            "kill -9 to serving with {} containers: {serving:.0?}, all known: {known:.0?}",
            count()
        ));
    }
    let shims = daemon.client().shims().unwrap().containers;
    let stopped = shims.iter().find(|shim| shim.container_id == ids[0]).unwrap().shim_pid;
    let stopped = Pid::from_raw(stopped.cast_signed());
    kill(stopped, Signal::SIGSTOP).unwrap();
    let (serving, known) = restart(&mut daemon, count() - 1);
    host::figure(&format!("the same with one stopped shim: {serving:.0?}, all others known: {known:.0?}"));
    assert_eq!(daemon.status(&ids[0]).state(), ContainerState::ContainerUnknown);
    kill(stopped, Signal::SIGCONT).unwrap();
    eventually(SOON, "its return", || {
        (daemon.status(&ids[0]).state() == ContainerState::ContainerRunning).then_some(())
    });
}
