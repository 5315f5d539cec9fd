//! What a shim makes of itself whatever it was born with, and what a runtime's command gets from it.

use std::{fs, os::fd::AsRawFd, process::Command};

use nix::sys::signal::{Signal, kill};
use protocol::{
    exit_record::ExitStatus,
    shim::{Empty, ExecRequest, exec_outcome::How},
};

use crate::shim_under_test::{ShimUnderTest, command, ctx, pipe, program, run_exec, shown};

/// What this file looks like to a runtime's command.
async fn seen(shim: &ShimUnderTest, id: &str, program: &str, path: &str) -> String {
    let request = ExecRequest {
        exec_id: id.into(),
        command: command(program, vec![path.into()]),
        descriptors: 3,
        ..ExecRequest::default()
    };
    run_exec(&shim.client, &shim.carrier, request).await.expect("accepted").0
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_else(|| panic!("no {name} in {text}"))
        .trim()
}

/// A shim born of a shell that ignores what can be ignored and has open what it should not.
async fn born_badly(script: &str) -> ShimUnderTest {
    let mut shell = Command::new("/bin/sh");
    let spoilt = "trap '' CHLD HUP QUIT USR1 ALRM TERM; umask 077; ulimit -Sn 300; exec 7</dev/null 9>/dev/null; exec \"$0\"";
    shell.args(["-c", spoilt, &shown(&program())]).env("SECRET", "of the daemon");
    ShimUnderTest::born_of(shell, script).await
}

#[tokio::test]
async fn a_runtime_starts_clean_whatever_the_shim_was_born_with() {
    let shim = born_badly("init=wait").await;
    assert!(shim.launch(shim.order()).await.failure.is_none());
    assert!(shim.start().await.failure.is_none());
    let status = seen(&shim, "status", "/bin/cat", "/proc/self/status").await;
    for mask in ["SigIgn:", "SigBlk:", "SigCgt:"] {
        assert_eq!(field(&status, mask), "0000000000000000", "{mask}");
    }
    assert_eq!(field(&status, "Umask:"), "0022");
    assert_eq!(field(&status, "THP_enabled:"), "1");
    let environment = seen(&shim, "environ", "/bin/cat", "/proc/self/environ").await;
    // And whose it is, so that it is found when nobody has it any more.
    let is_ours = |word: &str| word.starts_with("PATH=/") || word == "TAFFRAIL_CONTAINER=run";
    let words: Vec<&str> = environment.split_terminator('\0').collect();
    assert!(words.len() == 2 && words.iter().all(|word| is_ours(word)), "{environment:?}");
    let limits = seen(&shim, "limits", "/bin/cat", "/proc/self/limits").await;
    assert!(field(&limits, "Max open files").starts_with("300 "), "{limits}");
    let open = seen(&shim, "fd", "/bin/ls", "/proc/self/fd").await;
    // The fourth is the folder that ls reads.
    assert_eq!(open.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    shim.client.kill(ctx(), &Empty::new()).await.expect("kill");
    assert_eq!(shim.exit().await.status, ExitStatus::Signaled(9), "an ignored SIGCHLD costs the status");
    shim.dismiss().await;
}

/// Whether this descriptor is what the shell opened there: the shim's own /dev/null is open for reading too.
fn is_null(pid: u32, number: u32) -> bool {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
    let link = fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap_or_default();
    link.to_str() == Some("/dev/null") && !info.contains("02000002")
}

#[tokio::test]
async fn a_shim_is_a_plain_quiet_process_of_its_own() {
    let shim = born_badly("init=wait").await;
    let pid = shim.child.id();
    assert!(!is_null(pid, 9), "an inherited descriptor is kept");
    shim.launch(shim.order()).await;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    assert!(stat.contains("(taffrail-shim)"), "{stat}");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    assert_eq!(
        (fields[2], fields[3]),
        (pid.to_string().as_str(), pid.to_string().as_str()),
        "no session of its own"
    );
    for number in 0..3 {
        let link = fs::read_link(format!("/proc/{pid}/fd/{number}")).expect("it is open");
        assert_eq!(link.to_str(), Some("/dev/null"), "descriptor {number}");
    }
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).expect("it lives").to_str(), Some("/"));
    // Only Dismiss ends it.
    let itself = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"));
    for signal in
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGPIPE]
    {
        kill(itself, signal).expect("it lives");
    }
    shim.hello().await;
    let mode = fs::metadata(shim.run_dir().socket()).expect("the control socket");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
    shim.client.kill(ctx(), &Empty::new()).await.expect("kill");
    assert_eq!(shim.exit().await.status, ExitStatus::NeverStarted);
    shim.dismiss().await;
}

#[tokio::test]
async fn an_outcome_that_nobody_reads_stops_nobody() {
    let mut shim = ShimUnderTest::running("init=wait").await;
    let request = shim.exec_request("exit 1", 0);
    let (out, out_given) = pipe();
    let (outcome, outcome_given) = pipe();
    let error = out_given.try_clone().expect("a descriptor");
    drop((out, outcome));
    assert!(out_given.as_raw_fd() > 2);
    let call = shim.client.exec(ctx(), &request);
    shim.carrier.carry(vec![out_given, error, outcome_given], call).await.expect("whole").expect("accepted");
    assert_eq!(shim.exec("exit 2", 0).await.1, How::Exited(2));
    shim.client.kill(ctx(), &Empty::new()).await.expect("kill");
    shim.exit().await;
    shim.dismiss().await;
}
