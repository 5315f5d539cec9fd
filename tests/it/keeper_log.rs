//! The log of a container whose shim is killed: every line in order and once, or a line of ours at the place.
//!
//! Never: a line that may be missing without such a mark; the rest of what a killed shim leaves is `keeper`'s.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    time::Duration,
};

use cri_api::v1;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tests::{
    ask,
    cri_log::{self, Record},
    daemon::Daemon,
    eventually::eventually,
    host,
    limits::SOON,
    nursery::process,
};

use super::keeper::{is_running, kill9, shim, written};

/// Of the container that writes while its shim is killed.
const RATE: u64 = 10_000_000;
const SECONDS: u64 = 6;
const LINE: u64 = 100;
const KILLS: u32 = 20;
/// What the line of ours begins with that stands where something may be missing.
const MARK: &str = "[taffrail] the writer of this log was replaced here: up to ";
/// Bytes of the flood whose log is cut: more than is written until a mark is found.
const FLOOD: u64 = 4_000_000_000;
/// How often a shim is killed until its write was one of records, and not of something else.
const TRIES: u32 = 40;
/// Lines behind a mark that may be put together of two.
const CUT: u32 = 2;

/// What a log of a flood holds.
#[derive(Debug)]
struct Flood {
    lines: u64,
    marks: u64,
    /// Number of its last line.
    last: u64,
}

/// The number of a line of a flood, if it is whole.
fn number(line: &str) -> Option<u64> {
    let (number, rest) = line.strip_prefix("flood ")?.split_once(' ')?;
    let is_whole = line.len() as u64 + 1 == LINE && rest.bytes().all(|byte| byte == b'.');
    number.parse().ok().filter(|_| is_whole)
}

/// Goes through the log of a flood: behind line `last` each follows the one before, and only behind a mark may some be
/// missing, and one be put together of two. The stamps grow.
fn flood(records: &[Record], last: u64) -> Flood {
    let mut seen = Flood { lines: 0, marks: 0, last };
    let (mut open, mut lenient) = (Vec::new(), 0);
    for record in records {
        if record.stream == "stderr" {
            let text = String::from_utf8_lossy(&record.content);
            assert!(record.full && text.starts_with(MARK), "{text}");
            seen.marks += 1;
            lenient = CUT;
            continue;
        }
        open.extend_from_slice(&record.content);
        if !record.full {
            continue;
        }
        let line = String::from_utf8(std::mem::take(&mut open)).expect("a flood is text");
        match number(&line) {
            Some(number) if number == seen.last + 1 => seen.last = number,
            Some(number) if lenient > 0 && number > seen.last => seen.last = number,
            None if lenient > 0 => {}
            _ => panic!("behind line {}, with {} marks, comes {line:?}", seen.last, seen.marks),
        }
        lenient = lenient.saturating_sub(1);
        seen.lines += 1;
    }
    assert!(records.is_sorted_by_key(|record| record.time), "stamps grow");
    seen
}

#[test]
fn a_writer_of_ten_megabytes_a_second_loses_no_line_over_twenty_shims() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("pour");
    let texts = [RATE, SECONDS, 7].map(|number| number.to_string());
    let id = daemon.run(&pod, "c", &["pour", &texts[0], &texts[1], &texts[2]]);
    let all = RATE * SECONDS;
    for number in 1..=KILLS {
        let due = all * u64::from(number) / u64::from(KILLS + 2);
        eventually(SOON, "the next part of the log", || (written(&pod, "c") >= due).then_some(()));
        kill9(shim(&daemon, &id).0);
        successor(&daemon, &id, number);
    }
    let status = daemon.exited(&id);
    assert_eq!(status.exit_code, 7, "{status:?}");
    let records = cri_log::read(&pod.log("c"));
    let seen = flood(&records, 0);
    let gap = records.windows(2).map(|pair| pair[1].time - pair[0].time).max().unwrap_or_default();
    host::figure(&format!(
        "{KILLS} shims killed under 10 MB/s: {} lines of {}, {} marks, longest gap {:.1} ms",
        seen.lines,
        all / LINE,
        seen.marks,
        Duration::from_nanos(gap.cast_unsigned()).as_secs_f64() * 1e3
    ));
    assert!(seen.marks > 0 || (seen.lines, seen.last) == (all / LINE, all / LINE), "{seen:?}");
}

/// The shim of this generation has taken over.
fn successor(daemon: &Daemon, id: &str, number: u32) {
    eventually(SOON, "another shim", || {
        let shims = daemon.client().shims().unwrap().containers;
        shims.iter().any(|shim| shim.container_id == id && shim.generation == number).then_some(())
    });
}

/// The first record of a log, as soon as it is whole.
fn first(log: &Path) -> Record {
    eventually(SOON, "a line of the log", || {
        let mut line = Vec::new();
        BufReader::new(fs::File::open(log).ok()?).read_until(b'\n', &mut line).ok()?;
        cri_log::parse(&line).pop()
    })
}

/// Number of the last whole line of a flood's log, by its end alone.
fn last_number(log: &Path) -> u64 {
    let bytes = fs::read(log).expect("the log is there");
    let from = bytes.len().saturating_sub(4096);
    let from = from + bytes[from..].iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let lines = cri_log::lines(&cri_log::parse(&bytes[from..]), "stdout");
    lines.iter().rev().find_map(|line| number(line)).expect("a whole line")
}

/// Stops a process when it has just written, or is about to write.
fn stop_in_a_write(pid: u32) {
    let signal = |signal| kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
    let write = format!("{} ", nix::libc::SYS_write);
    eventually(SOON, "a write", || {
        signal(Signal::SIGSTOP);
        eventually(SOON, "the shim to stop", || (process(pid)?.state == 'T').then_some(()));
        // Where the kernel does not tell, any place is taken.
        let call = fs::read_to_string(format!("/proc/{pid}/syscall"));
        if call.is_ok_and(|call| !call.starts_with(&write)) {
            signal(Signal::SIGCONT);
            return None;
        }
        Some(())
    });
}

#[test]
fn where_nobody_can_know_what_was_written_one_line_says_so() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("marked");
    let id = daemon.run(&pod, "c", &["flood", &FLOOD.to_string()]);
    let log = pod.log("c");
    let marked = (1..=TRIES).find_map(|number| {
        eventually(SOON, "some of the log", || (written(&pod, "c") > 1_000_000).then_some(()));
        let (pid, _) = shim(&daemon, &id);
        stop_in_a_write(pid);
        let last = last_number(&log);
        // Somebody cuts the log while a read's records are on their way into it: how many came, its size does not say now.
        fs::File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
        kill9(pid);
        successor(&daemon, &id, number);
        let first = first(&log);
        let is_marked = first.stream == "stderr";
        // Killed elsewhere: nothing is missing, and nothing is said.
        is_marked.then(|| (last, String::from_utf8_lossy(&first.content).into_owned(), number))
    });
    let (last, mark, kills) = marked.expect("a shim was killed in the middle of a write");
    eventually(SOON, "more of the log", || (written(&pod, "c") > 1_000_000).then_some(()));
    daemon.client().stop_container(ask::stop(&id, 0)).unwrap();
    let missing =
        mark.strip_prefix(MARK).and_then(|text| text.strip_suffix(" bytes of output may be missing"));
    let missing: u64 = missing.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{mark}"));
    let records = cri_log::read(&log);
    let seen = flood(&records, last);
    assert_eq!(seen.marks, 1);
    let next = cri_log::lines(&records, "stdout").iter().skip(1).find_map(|line| number(line)).unwrap();
    // The first line behind it may be a whole one.
    assert!(
        (next - last) * LINE <= missing + 3 * LINE,
        "from {last} to {next}, and {missing} bytes are said"
    );
    host::figure(&format!(
        "a mark after {kills} kills: {missing} bytes may be missing, {} lines behind it",
        seen.lines
    ));
}

#[test]
fn a_log_is_opened_anew_though_the_shim_is_killed() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("reopened");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    let mut last = 0;
    for _ in 0..3 {
        fs::remove_file(pod.log("c")).unwrap();
        // The answer to a call may be here before the news of who gave it.
        last = eventually(SOON, "the shim", || {
            Some(shim(&daemon, &id).0).filter(|&pid| pid != last && pid != 0)
        });
        kill9(last);
        let wish = v1::ReopenContainerLogRequest { container_id: id.clone() };
        daemon.client().reopen_container_log(wish).unwrap();
        assert!(pod.log("c").exists());
    }
    assert!(is_running(&daemon, &id));
}
