//! A shim dies by SIGKILL and another takes its place; the keeper dies and another is started; both die, and the
//! container is reported lost.
//!
//! Never: a death that nothing follows from; the leak checker sees the rest.

use std::time::{Duration, Instant};

use cri_api::v1::{self, ContainerState};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tests::{
    ask, cri_log,
    daemon::{Daemon, Pod},
    eventually::eventually,
    host,
    image_file::DEMO,
    limits::SOON,
    nursery::process,
};

/// How soon a container that lost shim and keeper must be reported lost.
const LOST: Duration = Duration::from_secs(2);

pub(super) fn kill9(pid: u32) {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
}

pub(super) fn is_over(pid: u32) -> bool {
    process(pid).is_none_or(|process| process.state == 'Z')
}

/// The shim of a container, and its init process.
pub(super) fn shim(daemon: &Daemon, id: &str) -> (u32, u32) {
    let shims = daemon.client().shims().unwrap().containers;
    let shim = shims.iter().find(|shim| shim.container_id == id).expect("the container has a shim");
    (shim.shim_pid, shim.init_pid)
}

/// Kills the shim and waits for the next one.
fn replace(daemon: &Daemon, id: &str) -> u32 {
    let (old, init) = shim(daemon, id);
    kill9(old);
    eventually(SOON, "another shim", || {
        let (new, same) = shim(daemon, id);
        assert_eq!(same, init, "the container is another one");
        (new != old && new != 0).then_some(new)
    })
}

/// The keeper's process: the only one below the daemon's nursery of that name.
pub(super) fn keeper(daemon: &Daemon) -> u32 {
    eventually(SOON, "the keeper", || daemon.nursery().named("taffrail-keeper").first().copied())
}

pub(super) fn is_running(daemon: &Daemon, id: &str) -> bool {
    daemon.status(id).state() == ContainerState::ContainerRunning
}

pub(super) fn written(pod: &Pod, name: &str) -> u64 {
    std::fs::metadata(pod.log(name)).map_or(0, |log| log.len())
}

#[test]
fn the_container_does_not_notice() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("kept");
    let id = daemon.run(&pod, "c", &["trap", "9", "600"]);
    let before = daemon.status(&id);
    for _ in 0..3 {
        replace(&daemon, &id);
        let after = daemon.status(&id);
        assert_eq!(
            (after.state(), after.started_at, after.created_at),
            (before.state(), before.started_at, before.created_at)
        );
        let answer = daemon.client().exec_sync(ask::exec(&id, &["/demo", "true"], 10)).unwrap();
        assert_eq!(answer.exit_code, 0);
    }
    daemon.client().stop_container(ask::stop(&id, 10)).unwrap();
    assert_eq!(daemon.status(&id).exit_code, 9);
}

#[test]
fn a_shim_that_is_killed_while_no_daemon_lives_is_replaced_too() {
    let Some(mut daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("alone");
    let id = daemon.run(&pod, "c", &["trap", "5", "600"]);
    let (old, init) = shim(&daemon, &id);
    daemon.kill9();
    kill9(old);
    eventually(SOON, "the shim's end", || is_over(old).then_some(()));
    kill(Pid::from_raw(init.cast_signed()), Signal::SIGTERM).unwrap();
    eventually(SOON, "the container's end", || is_over(init).then_some(()));
    daemon.launch();
    assert_eq!(daemon.exited(&id).exit_code, 5);
}

#[test]
fn an_end_that_no_shim_saw_is_true() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("ends");
    let ids: Vec<String> = (0..4u8)
        .map(|nr| daemon.run(&pod, &format!("c{nr}"), &["trap", &format!("{}", 20 + nr), "600"]))
        .collect();
    for (nr, id) in (0i32..).zip(&ids) {
        let (shim, init) = shim(&daemon, id);
        // Both at once: whichever comes first.
        kill9(shim);
        kill(Pid::from_raw(init.cast_signed()), Signal::SIGTERM).unwrap();
        assert_eq!(daemon.exited(id).exit_code, 20 + nr);
    }
}

#[test]
fn an_exec_goes_on_under_the_next_shim() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("exec");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    let asked = std::thread::spawn({
        let (client, id) = (daemon.client().clone(), id.clone());
        move || client.exec_sync(ask::exec(&id, &["/demo", "exit", "3", "1500"], 20))
    });
    let probe =
        eventually(SOON, "the command", || daemon.nursery().commands("/demo exit 3").first().copied());
    let new = replace(&daemon, &id);
    assert!(!is_over(probe), "the command was hurt");
    assert_eq!(asked.join().unwrap().unwrap().exit_code, 3);
    // Its deadline holds too.
    let late = daemon.client().exec_sync(ask::exec(&id, &["/demo", "sleep", "600"], 1)).unwrap_err();
    assert_eq!(late.code(), tonic::Code::DeadlineExceeded, "{late}");
    assert_eq!(shim(&daemon, &id).0, new);
}

#[test]
fn a_terminal_stays_open() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("tty");
    let mut config = ask::container("c", DEMO, &["count", "0", "10"]);
    config.tty = true;
    let id = daemon.create(&pod, &config);
    daemon.client().start_container(ask::start(&id)).unwrap();
    for _ in 0..5 {
        replace(&daemon, &id);
        let before = written(&pod, "c");
        eventually(SOON, "more of the log", || (written(&pod, "c") > before + 500).then_some(()));
    }
    daemon.client().stop_container(ask::stop(&id, 10)).unwrap();
    let lines = cri_log::lines(&cri_log::read(&pod.log("c")), "stdout");
    for (at, line) in lines.iter().enumerate().take(lines.len().saturating_sub(1)) {
        assert_eq!(line.trim_end_matches('\r'), format!("line {}", at + 1));
    }
}

#[test]
fn a_killed_keeper_is_replaced_and_the_next_one_keeps_what_is_there() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("two");
    let id = daemon.run(&pod, "c", &["trap", "4", "600"]);
    let other = daemon.run(&pod, "d", &["count", "0", "10"]);
    let (old, shims) = (keeper(&daemon), [shim(&daemon, &id).0, shim(&daemon, &other).0]);
    kill9(old);
    let new = eventually(SOON, "another keeper", || {
        daemon.nursery().named("taffrail-keeper").into_iter().find(|&pid| pid != old && !is_over(pid))
    });
    assert_eq!([shim(&daemon, &id).0, shim(&daemon, &other).0], shims, "a shim was hurt");
    eventually(SOON, "all shims with the next keeper", || (daemon.kept() >= 2).then_some(()));
    // Of a shim that the present keeper did not start, it is still told.
    replace(&daemon, &id);
    replace(&daemon, &other);
    let before = written(&pod, "d");
    eventually(SOON, "more of the log", || (written(&pod, "d") > before + 500).then_some(()));
    assert_eq!(keeper(&daemon), new);
    daemon.client().stop_container(ask::stop(&id, 10)).unwrap();
    let status = daemon.status(&id);
    if kernel_tells() {
        assert_eq!(status.exit_code, 4, "{status:?}");
    } else {
        assert_eq!(status.exit_code, 255, "{status:?}");
    }
}

/// Whether a process has a pidfd of another one.
fn has_handle(holder: u32, of: u32) -> bool {
    let infos = std::fs::read_dir(format!("/proc/{holder}/fdinfo")).into_iter().flatten().flatten();
    let line = format!("Pid:\t{of}");
    infos
        .filter_map(|info| std::fs::read_to_string(info.path()).ok())
        .any(|text| text.lines().any(|l| l == line))
}

/// Whether the kernel tells the exit status of somebody else's child (`PIDFD_INFO_EXIT`).
fn kernel_tells() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = release.split(['.', '-']).map(|part| part.trim().parse::<u32>().unwrap_or(0));
    (parts.next(), parts.next()) >= (Some(6), Some(15))
}

#[test]
fn without_shim_and_keeper_the_container_is_lost_and_gone() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("lost");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    let (shim, init) = shim(&daemon, &id);
    let keeper = keeper(&daemon);
    let died = Instant::now();
    kill9(keeper);
    kill9(shim);
    let status = daemon.exited(&id);
    let took = died.elapsed();
    assert_eq!(status.exit_code, 255, "never 0: {status:?}");
    assert!(!status.reason.is_empty() && status.reason != "Completed", "{status:?}");
    eventually(SOON, "the end of what it supervised", || is_over(init).then_some(()));
    host::figure(&format!(
        "shim and keeper killed: reported lost after {} ms (promised {LOST:?})",
        took.as_millis()
    ));
    assert!(!is_running(&daemon, &id));
    // The node goes on.
    let next = daemon.run(&pod, "d", &["exit", "0"]);
    assert_eq!(daemon.exited(&next).exit_code, 0);
}

#[test]
fn without_shim_and_keeper_an_end_of_its_own_is_still_true_where_the_kernel_tells() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("lost");
    let id = daemon.run(&pod, "c", &["trap", "11", "600"]);
    let (shim, init) = shim(&daemon, &id);
    eventually(SOON, "the daemon's own handle of init", || has_handle(daemon.pid(), init).then_some(()));
    // Stopped, they see nothing of its end; killed, they take the knowledge with them.
    for pid in [keeper(&daemon), shim] {
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGSTOP).unwrap();
    }
    kill(Pid::from_raw(init.cast_signed()), Signal::SIGTERM).unwrap();
    eventually(SOON, "the container's end", || is_over(init).then_some(()));
    kill9(keeper(&daemon));
    kill9(shim);
    let code = daemon.exited(&id).exit_code;
    assert_eq!(code, if kernel_tells() { 11 } else { 255 });
}

#[test]
fn a_keeper_that_is_stopped_hinders_nobody() {
    let Some(mut daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("stopped");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    let old = keeper(&daemon);
    kill(Pid::from_raw(old.cast_signed()), Signal::SIGSTOP).unwrap();
    for _ in 0..3 {
        let answer = daemon.client().exec_sync(ask::exec(&id, &["/demo", "true"], 10)).unwrap();
        assert_eq!(answer.exit_code, 0);
    }
    // More containers than shims are made ahead: it does not answer, and another is started.
    for nr in 0..4 {
        let next = daemon.run(&pod, &format!("d{nr}"), &["exit", "6"]);
        assert_eq!(daemon.exited(&next).exit_code, 6);
    }
    assert!(is_over(old));
    let second = keeper(&daemon);
    kill(Pid::from_raw(second.cast_signed()), Signal::SIGSTOP).unwrap();
    // The next daemon finds one that does not answer.
    daemon.restart();
    let next = daemon.run(&pod, "e", &["exit", "7"]);
    assert_eq!(daemon.exited(&next).exit_code, 7);
    assert!(is_over(second));
    assert!(is_running(&daemon, &id));
    let list = daemon.client().list_containers(v1::ListContainersRequest::default()).unwrap().containers;
    assert_eq!(list.len(), 6);
}

#[test]
fn one_run_directory_that_somebody_removed_takes_nobody_else_along() {
    let Some(mut daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("removed");
    let (lost, other) = (daemon.run(&pod, "a", &["sleep", "600"]), daemon.run(&pod, "b", &["sleep", "600"]));
    let (old, kept) = (keeper(&daemon), shim(&daemon, &other));
    let (gone, init) = shim(&daemon, &lost);
    daemon.kill9();
    std::fs::remove_dir_all(daemon.path(&format!("state/shims/{lost}"))).unwrap();
    daemon.launch();
    let status = daemon.status(&lost);
    assert_eq!((status.state(), status.exit_code), (ContainerState::ContainerExited, 255), "{status:?}");
    assert!(is_over(gone) && is_over(init));
    assert_eq!(keeper(&daemon), old);
    assert_eq!(shim(&daemon, &other), kept);
    replace(&daemon, &other);
    assert!(is_running(&daemon, &other));
}
