//! ExecSync: output and exit code come back, a timeout kills the whole tree, nothing holds an answer for ever.
//!
//! Never: a timed assertion; a deadline that did not work shows as a test that never ends.

use std::fs;

use cri_api::v1;
use tests::{ask, daemon::Daemon, eventually::eventually, limits::SOON, nursery::processes};
use tonic::Code;

/// What is kept at most: the answer must fit what the kubelet's client takes, 16 MiB, with the message around it.
const OUTPUT_MAX: usize = 16 << 20;
/// What may be missing from it: a page, for the message around the bytes.
const AROUND: usize = 4096;

#[test]
fn output_and_exit_code_come_back() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("exec");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    let exec = |command: &[&str]| daemon.client().exec_sync(ask::exec(&id, command, 30)).unwrap();
    let answer = exec(&["/demo", "count", "2", "0"]);
    assert_eq!((answer.exit_code, answer.stdout.as_slice()), (0, b"line 1\nline 2\n".as_slice()));
    let answer = exec(&["/demo", "err", "oh"]);
    assert_eq!((answer.stdout.as_slice(), answer.stderr.as_slice()), (b"".as_slice(), b"oh\n".as_slice()));
    assert_eq!(exec(&["/demo", "exit", "3"]).exit_code, 3);
    assert_eq!(exec(&["/demo", "die", "9"]).exit_code, 137);
    // The CRI's timeout 0 is none.
    assert_eq!(daemon.client().exec_sync(ask::exec(&id, &["/demo", "true"], 0)).unwrap().exit_code, 0);
}

#[test]
fn more_output_than_is_kept_is_drained() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("much");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    let more = (OUTPUT_MAX + (4 << 20)).to_string();
    let answer = daemon.client().exec_sync(ask::exec(&id, &["/demo", "flood", &more], 120)).unwrap();
    assert_eq!(answer.exit_code, 0);
    assert!((OUTPUT_MAX - AROUND..=OUTPUT_MAX).contains(&answer.stdout.len()), "{}", answer.stdout.len());
}

#[test]
fn a_timeout_kills_the_whole_tree() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("timeout");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    let error = daemon.client().exec_sync(ask::exec(&id, &["/demo", "tree", "600"], 1)).unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
    assert!(error.message().contains("timed out"), "{error}");
    eventually(SOON, "the end of every process of the exec", || {
        let of_exec = |pid: u32| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                let line = String::from_utf8_lossy(&line);
                line.contains("demo")
                    && (line.contains("tree") || line.contains("setsid") || line.contains("ignore-term"))
            })
        };
        let left = daemon.nursery().descendants().into_iter().filter(|process| of_exec(process.pid)).count();
        (left == 0).then_some(())
    });
    assert_eq!(daemon.status(&id).state(), v1::ContainerState::ContainerRunning, "the container goes on");
}

#[test]
fn a_grandchild_that_holds_the_pipe_does_not_hold_the_answer() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("holds");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    let answer = daemon.client().exec_sync(ask::exec(&id, &["/demo", "orphan", "30"], 20)).unwrap();
    assert_eq!((answer.exit_code, answer.stdout.as_slice()), (0, b"orphan left\n".as_slice()));
}

#[test]
fn what_cannot_be_run_is_an_error_with_a_reason() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("cannot");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    let error = daemon.client().exec_sync(ask::exec(&id, &[], 10)).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    match daemon.client().exec_sync(ask::exec(&id, &["/no/such/program"], 10)) {
        // A shell's convention for a program that is not there.
        Ok(answer) => assert!([126, 127].contains(&answer.exit_code), "{answer:?}"),
        Err(error) => assert!(error.message().contains("/no/such/program"), "{error}"),
    }
    let ended = daemon.run(&pod, "ended", &["true"]);
    daemon.exited(&ended);
    let error = daemon.client().exec_sync(ask::exec(&ended, &["/demo"], 10)).unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    let error = daemon.client().exec_sync(ask::exec("nobody", &["/demo"], 10)).unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");
}

#[test]
fn an_exec_outlives_no_daemon_for_ever() {
    let Some(mut daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("immortal");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    let probe = std::thread::spawn({
        let client = daemon.client().clone();
        move || client.exec_sync(ask::exec(&id, &["/demo", "tree", "600"], 2))
    });
    let running = || {
        // The container's PID 1 reaps nobody: what has ended stays a zombie until it ends itself.
        let alive = processes().into_iter().filter(|process| process.name == "demo" && process.state != 'Z');
        let names = alive.map(|process| process.pid);
        let below: Vec<u32> = daemon.nursery().descendants().iter().map(|p| p.pid).collect();
        names.filter(|pid| below.contains(pid)).count()
    };
    // The container's own process, and the exec's with its children.
    eventually(SOON, "the exec", || (running() > 4).then_some(()));
    let pid = daemon.pid();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    probe.join().unwrap().unwrap_err();
    eventually(SOON, "the exec's end at its deadline, kept by the shim", || (running() == 1).then_some(()));
    daemon.forget();
    daemon.launch();
}
