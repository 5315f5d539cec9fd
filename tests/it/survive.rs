//! The daemon dies by SIGKILL and comes back: nobody notices.
//!
//! Never: waits for time to pass; what must go on while the daemon is dead is watched in the logs.

use std::{collections::BTreeMap, path::Path, time::SystemTime};

use cri_api::v1::{self, ContainerState};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tests::{
    ask, cri_log,
    daemon::{Daemon, Pod},
    eventually::eventually,
    image_file::DEMO,
    limits::SOON,
};

/// Containers that write a line each [`INTERVAL_MS`] milliseconds.
const WRITERS: usize = 8;
const INTERVAL_MS: &str = "20";
/// Lines that each must have written before, during and after the daemon's death.
const LINES: usize = 10;
/// What the flood writes: more than any buffer on its way holds.
const FLOOD: u64 = 64 << 20;
const FLOOD_LINE: u64 = 100;

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_nanos()).unwrap()
}

fn count(log: &Path) -> usize {
    std::fs::read(log).map_or(0, |bytes| bytes.iter().filter(|&&byte| byte == b'\n').count())
}

/// Waits until every writer has written so many lines more.
fn writers_go_on(pod: &Pod) {
    for nr in 0..WRITERS {
        let log = pod.log(&format!("w{nr}"));
        let before = count(&log);
        eventually(SOON, "a writer's next lines", || (count(&log) >= before + LINES).then_some(()));
    }
}

/// What must not change: times by container id.
fn times(daemon: &Daemon) -> BTreeMap<String, (i64, i64)> {
    let list = daemon.client().list_containers(v1::ListContainersRequest::default()).unwrap().containers;
    let one = |container: v1::Container| {
        let status = daemon.status(&container.id);
        (container.id, (status.created_at, status.started_at))
    };
    list.into_iter().map(one).collect()
}

#[test]
fn the_daemon_is_killed_and_nobody_notices() {
    let Some(mut daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("busy");
    for nr in 0..WRITERS {
        daemon.run(&pod, &format!("w{nr}"), &["count", "0", INTERVAL_MS]);
    }
    let nine = daemon.run(&pod, "nine", &["trap", "9", "600"]);
    let not_started = daemon.create(&pod, &ask::container("later", DEMO, &["hello"]));
    let flood = daemon.run(&pod, "flood", &["flood", &FLOOD.to_string()]);
    writers_go_on(&pod);
    eventually(SOON, "the one that will exit", || (count(&pod.log("nine")) > 0).then_some(()));
    let before = times(&daemon);
    let shims = daemon.client().shims().unwrap().containers;
    let init = shims.iter().find(|shim| shim.container_id == nine).unwrap().init_pid;

    let died = now();
    daemon.kill9();
    kill(Pid::from_raw(init.cast_signed()), Signal::SIGTERM).unwrap();
    writers_go_on(&pod);
    eventually(SOON, "the exit of the one", || tests::nursery::process(init).is_none().then_some(()));
    let back = now();
    daemon.launch();

    assert_eq!(times(&daemon), before, "the same ids and times");
    let status = daemon.status(&nine);
    assert_eq!((status.state(), status.exit_code), (ContainerState::ContainerExited, 9));
    assert!(died <= status.finished_at && status.finished_at <= back, "it ended while the daemon was dead");
    writers_go_on(&pod);
    assert_eq!(daemon.exited(&flood).exit_code, 0);
    let lines = cri_log::lines(&cri_log::read(&pod.log("flood")), "stdout");
    assert_eq!(lines.len() as u64, FLOOD / FLOOD_LINE);
    for (at, line) in lines.iter().enumerate() {
        assert!(line.starts_with(&format!("flood {} ", at + 1)), "line {} is {line:?}", at + 1);
    }
    for nr in 0..WRITERS {
        check_writer(&pod.log(&format!("w{nr}")), died, back);
    }
    let same = daemon.client().shims().unwrap().containers;
    for shim in shims.iter().filter(|shim| shim.name.starts_with('w')) {
        let found = same.iter().find(|other| other.container_id == shim.container_id).unwrap();
        assert_eq!((found.shim_pid, found.init_pid), (shim.shim_pid, shim.init_pid), "the same processes");
    }
    daemon.client().start_container(ask::start(&not_started)).unwrap();
    assert_eq!(daemon.exited(&not_started).exit_code, 0, "one that was only created can be started");
    let writer = shims.iter().find(|shim| shim.name == "w0").unwrap();
    let answer = daemon.client().exec_sync(ask::exec(&writer.container_id, &["/demo", "true"], 10)).unwrap();
    assert_eq!(answer.exit_code, 0, "exec works afterwards");
}

/// Every line once and in order, and stamped when it was written: some while the daemon was dead.
fn check_writer(log: &Path, died: i64, back: i64) {
    let records = cri_log::read(log);
    let lines = cri_log::lines(&records, "stdout");
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("line {}", at + 1));
    }
    assert!(records.is_sorted_by_key(|record| record.time), "stamps grow");
    let meanwhile = records.iter().filter(|record| (died..back).contains(&record.time)).count();
    assert!(meanwhile >= LINES, "{meanwhile} lines are stamped between {died} and {back}");
}

#[test]
fn a_stop_that_the_death_cut_short_can_be_asked_again() {
    let Some(mut daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("stop");
    let id = daemon.run(&pod, "c", &["ignore-term", "600"]);
    eventually(SOON, "the container", || (count(&pod.log("c")) > 0).then_some(()));
    let stopping = std::thread::spawn({
        let (client, id) = (daemon.client().clone(), id.clone());
        move || client.stop_container(ask::stop(&id, 3600))
    });
    daemon.restart();
    stopping.join().unwrap().unwrap_err();
    assert_eq!(daemon.status(&id).state(), ContainerState::ContainerRunning);
    daemon.client().stop_container(ask::stop(&id, 0)).unwrap();
    assert_eq!(daemon.status(&id).exit_code, 137);
}

#[test]
fn sigterm_leaves_the_workload_untouched() {
    let Some(mut daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("term");
    let id = daemon.run(&pod, "c", &["count", "0", INTERVAL_MS]);
    daemon.stop();
    let before = count(&pod.log("c"));
    eventually(SOON, "lines without a daemon", || (count(&pod.log("c")) > before + LINES).then_some(()));
    daemon.launch();
    assert_eq!(daemon.status(&id).state(), ContainerState::ContainerRunning);
}
