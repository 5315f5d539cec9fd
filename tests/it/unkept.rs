//! Two at a time: shim and keeper gone, stopped or late together. What is left is ended or kept, never forgotten.
//!
//! Owns: the runtime that waits. Never: one death alone; those are in `keeper`.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use cri_api::v1::ContainerState;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tests::{
    ask,
    client::CriClient,
    daemon::{Daemon, Options, Pod},
    eventually::{eventually, within},
    failpoints::{self, Failpoints},
    host,
    image_file::DEMO,
    limits::SOON,
    nursery::process,
};

use crate::{
    cni::put,
    keeper::{is_over, keeper},
};

/// How long a keeper may be silent before it is given up, and what follows from that.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a shim has the lock, and has not looked yet whether its sender lives.
const LOCKED: &str = "supervise.locked";

/// How long it stays there: longer than a test on a busy host takes to stop it.
const HELD: Duration = Duration::from_secs(5);

/// Longer than a shim that is cut from its keeper stays so.
const CUT: Duration = Duration::from_secs(7);

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

fn shim(daemon: &Daemon, id: &str) -> Option<u32> {
    let shims = daemon.client().shims().ok()?.containers;
    shims.iter().find(|shim| shim.container_id == id).map(|shim| shim.shim_pid).filter(|&pid| pid != 0)
}

/// A StartContainer that is not answered yet.
type Start = std::thread::JoinHandle<Result<(), tonic::Status>>;

/// Asks for a start, and does not wait for it.
fn begin_start(daemon: &Daemon, id: &str) -> Start {
    let (client, asked) = (CriClient::new(&daemon.socket()), id.to_owned());
    std::thread::spawn(move || client.start_container(ask::start(&asked)).map(drop))
}

/// A daemon with a runtime whose create waits until a file is there.
struct Waiting {
    daemon: Daemon,
    _folder: tempfile::TempDir,
    gate: PathBuf,
    reached: PathBuf,
}

impl Waiting {
    fn start() -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("waiting.").tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (program, gate, reached) = (path("runtime"), path("gate"), path("reached"));
        let text = format!(
            "#!/bin/sh\nfor word; do if [ \"$word\" = create ] && [ -e {on} ]; then\n\
             echo $$ >{reached}; while ! [ -e {gate} ]; do sleep 0.02; done; fi; done\nexec {runc} \"$@\"\n",
            on = path("on").display(),
            reached = reached.display(),
            gate = gate.display(),
            runc = host::find("runc")?.display(),
        );
        put(&program, &text);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let set = vec![format!("runtimes.runc.path={}", program.display())];
        let daemon = Daemon::start_with(Options { set, ..Options::default() })?;
        put(&path("on"), "");
        Some(Self { daemon, _folder: folder, gate, reached })
    }

    /// Begins to start a container, and comes back when its create waits.
    fn begin(&self, pod: &Pod) -> (String, Start) {
        let id = self.daemon.create(pod, &ask::container("c", DEMO, &["sleep", "600"]));
        let start = begin_start(&self.daemon, &id);
        eventually(SOON, "the runtime's create", || self.reached.exists().then_some(()));
        (id, start)
    }

    fn command(&self) -> u32 {
        eventually(SOON, "its number", || fs::read_to_string(&self.reached).ok()?.trim().parse().ok())
    }
}

#[test]
fn a_command_that_lost_shim_and_keeper_is_ended_before_the_loss_is_told() {
    let Some(waiting) = Waiting::start() else { return };
    let daemon = &waiting.daemon;
    let pod = daemon.run_pod("p");
    let (id, start) = waiting.begin(&pod);
    let command = waiting.command();
    let shim = process(command).expect("it waits").parent;
    signal(keeper(daemon), Signal::SIGKILL);
    signal(shim, Signal::SIGKILL);
    let error = start.join().unwrap().unwrap_err();
    assert!(is_over(command), "it would go on to make a container: {error}");
    let status = daemon.exited(&id);
    assert_ne!(status.exit_code, 0, "{status:?}");
    put(&waiting.gate, "");
    // The next one has nothing in its way.
    let next = daemon.run(&pod, "d", &["exit", "5"]);
    assert_eq!(daemon.exited(&next).exit_code, 5);
}

#[test]
fn a_container_whose_keeper_died_while_it_was_made_is_kept_once() {
    let Some(waiting) = Waiting::start() else { return };
    let daemon = &waiting.daemon;
    let pod = daemon.run_pod("p");
    let (id, start) = waiting.begin(&pod);
    let old = keeper(daemon);
    signal(old, Signal::SIGKILL);
    eventually(SOON, "another keeper", || (keeper(daemon) != old).then_some(()));
    eventually(SOON, "that it keeps the shim", || (daemon.kept() == 1).then_some(()));
    put(&waiting.gate, "");
    start.join().unwrap().unwrap();
    // Nothing is brought to it again and again.
    let again = within(CUT, || daemon.log().contains("it is brought to it again").then_some(()));
    assert_eq!(again, None, "{}", daemon.log_tail());
    let first = shim(daemon, &id).unwrap();
    signal(first, Signal::SIGKILL);
    eventually(SOON, "another shim", || shim(daemon, &id).filter(|&pid| pid != first));
    assert_eq!(daemon.status(&id).state(), ContainerState::ContainerRunning);
}

#[test]
fn a_shim_that_was_stopped_when_its_keeper_died_is_kept_when_it_goes_on() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("p");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    let (first, old) = (shim(&daemon, &id).unwrap(), keeper(&daemon));
    // Or it would bring the shim to another keeper before that one is stopped.
    daemon.signal(Signal::SIGSTOP);
    signal(old, Signal::SIGKILL);
    eventually(SOON, "its end", || is_over(old).then_some(()));
    // Now, since the end of its process group's last parent would wake one that is stopped (setpgid(2)).
    signal(first, Signal::SIGSTOP);
    daemon.signal(Signal::SIGCONT);
    eventually(SOON, "another keeper", || (keeper(&daemon) != old).then_some(()));
    // It has been asked, in vain.
    let silent = |daemon: &Daemon| daemon.log().contains("it is asked again and again");
    eventually(SOON, "the news", || silent(&daemon).then_some(()));
    assert_eq!(daemon.kept(), 0);
    signal(first, Signal::SIGCONT);
    eventually(SOON, "that it is kept", || (daemon.kept() == 1).then_some(()));
    signal(first, Signal::SIGKILL);
    eventually(SOON, "another shim", || shim(&daemon, &id).filter(|&pid| pid != first));
    assert_eq!(daemon.status(&id).state(), ContainerState::ContainerRunning);
}

#[test]
fn a_stopped_keeper_with_a_dead_shim_is_found_out() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("p");
    let (a, b) = (daemon.run(&pod, "a", &["sleep", "600"]), daemon.run(&pod, "b", &["sleep", "600"]));
    let (old, first) = (keeper(&daemon), shim(&daemon, &a).unwrap());
    signal(old, Signal::SIGSTOP);
    signal(first, Signal::SIGKILL);
    let status = eventually(PATIENCE, "the loss", || {
        let status = daemon.status(&a);
        (status.state() == ContainerState::ContainerExited).then_some(status)
    });
    assert_eq!(status.exit_code, 255, "{status:?}");
    assert!(is_over(old));
    // The other one's shim lives, and is kept by the next.
    eventually(SOON, "that it is kept", || (daemon.kept() == 1).then_some(()));
    assert_eq!(daemon.status(&b).state(), ContainerState::ContainerRunning);
}

#[test]
fn a_container_whose_shim_is_dead_and_whose_keeper_is_stopped_can_be_stopped() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("p");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    signal(keeper(&daemon), Signal::SIGSTOP);
    signal(shim(&daemon, &id).unwrap(), Signal::SIGKILL);
    daemon.client().stop_container(ask::stop(&id, 1)).unwrap();
    assert_eq!(daemon.status(&id).state(), ContainerState::ContainerExited);
    let next = daemon.run(&pod, "d", &["exit", "5"]);
    assert_eq!(daemon.exited(&next).exit_code, 5);
}

/// A container in a daemon that was killed when it had told a shim to launch it, and its successor, which has looked;
/// the shims that were there are stopped, and have not heard of the launch.
fn told_in_vain() -> Option<(Daemon, Pod, String, Vec<u32>)> {
    let mut daemon = Daemon::start()?;
    let pod = daemon.run_pod("p");
    let id = daemon.create(&pod, &ask::container("c", DEMO, &["exit", "9"]));
    let newborn = daemon.nursery().named("taffrail-shim");
    assert!(!newborn.is_empty());
    newborn.iter().for_each(|&pid| signal(pid, Signal::SIGSTOP));
    let start = begin_start(&daemon, &id);
    eventually(SOON, "that one is told", || {
        let explained = daemon.cli(&["explain", &id]);
        String::from_utf8_lossy(&explained.stdout).contains("runtime.create").then_some(())
    });
    daemon.kill9();
    start.join().unwrap().unwrap_err();
    daemon.launch();
    assert_eq!(daemon.status(&id).state(), ContainerState::ContainerCreated);
    Some((daemon, pod, id, newborn))
}

/// They hear now, and leave.
fn go_on(newborn: &[u32]) {
    newborn.iter().filter(|&&pid| !is_over(pid)).for_each(|&pid| signal(pid, Signal::SIGCONT));
    eventually(SOON, "that they leave", || newborn.iter().all(|&pid| is_over(pid)).then_some(()));
}

/// Whether the runtime has ever heard of a container.
fn is_made(daemon: &Daemon, id: &str) -> bool {
    daemon.path("state/runtimes/runc").join(id).exists()
}

#[test]
fn a_launch_that_is_heard_when_its_sender_is_dead_is_not_taken_up() {
    let Some((daemon, pod, id, newborn)) = told_in_vain() else { return };
    go_on(&newborn);
    assert!(!is_made(&daemon, &id));
    assert_eq!(daemon.status(&id).state(), ContainerState::ContainerCreated);
    daemon.client().stop_pod_sandbox(ask::stop_pod(&pod.id)).unwrap();
    assert_ne!(daemon.exited(&id).exit_code, 0);
}

#[test]
fn a_container_that_was_stopped_meanwhile_is_not_made_by_a_launch_that_is_heard_late() {
    let Some((daemon, _pod, id, newborn)) = told_in_vain() else { return };
    daemon.client().stop_container(ask::stop(&id, 0)).unwrap();
    go_on(&newborn);
    assert!(!is_made(&daemon, &id));
    let status = daemon.exited(&id);
    assert_ne!(status.exit_code, 0, "{status:?}");
}

#[test]
fn a_container_is_started_by_another_shim_than_the_one_that_was_told_in_vain() {
    let Some((daemon, _pod, id, newborn)) = told_in_vain() else { return };
    daemon.client().start_container(ask::start(&id)).unwrap();
    assert_eq!(daemon.exited(&id).exit_code, 9);
    go_on(&newborn);
    assert_eq!(daemon.exited(&id).exit_code, 9);
}

/// A container whose daemon was killed when a shim that it had told to launch it had the lock, and done no more; that is
/// stopped, and the next daemon has looked.
fn locked_and_stopped(points: &Failpoints) -> Option<(Daemon, Pod, String, Vec<u32>)> {
    let program = Some(failpoints::program()?);
    let options = Options { program, environment: points.environment(), ..Options::default() };
    let mut daemon = Daemon::start_with(options)?;
    let pod = daemon.run_pod("p");
    let id = daemon.create(&pod, &ask::container("c", DEMO, &["exit", "9"]));
    let newborn = daemon.nursery().named("taffrail-shim");
    assert!(!newborn.is_empty());
    points.set(LOCKED, &format!("delay({})", HELD.as_millis()));
    let start = begin_start(&daemon, &id);
    eventually(SOON, "the lock", || (points.hits(LOCKED) == 1).then_some(()));
    // It does not go on before the successor has looked.
    newborn.iter().for_each(|&pid| signal(pid, Signal::SIGSTOP));
    daemon.kill9();
    start.join().unwrap().unwrap_err();
    points.clear(LOCKED);
    daemon.launch();
    assert_eq!(daemon.status(&id).state(), ContainerState::ContainerUnknown);
    Some((daemon, pod, id, newborn))
}

#[test]
fn a_start_whose_daemon_died_when_its_shim_had_the_lock_is_told_as_failed() {
    let points = Failpoints::default();
    let Some((daemon, _pod, id, newborn)) = locked_and_stopped(&points) else { return };
    go_on(&newborn);
    let status = daemon.exited(&id);
    assert!(!is_made(&daemon, &id));
    assert!(status.message.contains("came to nothing"), "{status:?}");
}

#[test]
fn a_shim_that_is_stopped_when_it_has_the_lock_and_no_more_is_sent_away_by_a_stop() {
    let points = Failpoints::default();
    let Some((daemon, pod, id, newborn)) = locked_and_stopped(&points) else { return };
    daemon.client().stop_pod_sandbox(ask::stop_pod(&pod.id)).unwrap();
    let status = daemon.exited(&id);
    assert_ne!(status.exit_code, 0, "{status:?}");
    go_on(&newborn);
    assert!(!is_made(&daemon, &id));
}
