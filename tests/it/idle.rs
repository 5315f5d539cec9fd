//! What fifty idle containers cost: memory of their shims, threads, wake-ups (P9).
//!
//! The figures are counts of pages and of context switches, not times, so they may be asserted.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use tests::{daemon::Daemon, eventually};

/// P9 is stated at fifty.
const CONTAINERS: usize = 50;
/// Containers of one pod: as on a node, most pods have few.
const PER_POD: usize = 5;
const PSS_MAX_KIB: u64 = 64;
const PRIVATE_MAX_KIB: u64 = 96;
/// Of the keeper, with these fifty: what it costs is shared by all of them.
const KEEPER_PSS_MAX_KIB: u64 = 600;
/// Per container: shim, channel, journal, lock, listener, both outputs, log, first process; and some of its own.
const KEEPER_DESCRIPTORS_MAX: usize = 9 * CONTAINERS + 50;
/// How long nothing may happen.
const QUIET: Duration = Duration::from_secs(10);
/// How long after the last start there may still be one that is not: generous, the promise is about idle ones.
const SETTLED: Duration = Duration::from_secs(60);

fn field(text: &str, name: &str) -> u64 {
    let line =
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {text}"));
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn read(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap()
}

/// How often each process was taken from the processor, which is how often it had been put on it.
fn switches(pids: &[u32]) -> BTreeMap<u32, u64> {
    let one = |&pid: &u32| {
        let status = read(pid, "status");
        (pid, field(&status, "voluntary_ctxt_switches:") + field(&status, "nonvoluntary_ctxt_switches:"))
    };
    pids.iter().map(one).collect()
}

/// Who was woken within [`QUIET`], and how often. Returns as soon as it is known that somebody was.
fn wakes(pids: &[u32]) -> BTreeMap<u32, u64> {
    let before = switches(pids);
    let woken = eventually::within(QUIET, || {
        let now = switches(pids);
        (now != before).then_some(now)
    });
    let now = woken.unwrap_or_else(|| before.clone());
    now.into_iter().map(|(pid, count)| (pid, count - before[&pid])).filter(|(_, count)| *count > 0).collect()
}

#[test]
fn fifty_idle_shims_are_small_and_asleep() {
    let Some(daemon) = Daemon::start() else { return };
    for nr in 0..CONTAINERS / PER_POD {
        let pod = daemon.run_pod(&format!("pod{nr}"));
        for at in 0..PER_POD {
            // A closed stream must not keep its shim awake either.
            let command = if at == 0 { "silent" } else { "sleep" };
            daemon.run(&pod, &format!("c{at}"), &[command, "3600"]);
        }
    }
    let shims = daemon.client().shims().unwrap().containers;
    let pids: Vec<u32> = shims.iter().map(|shim| shim.shim_pid).collect();
    assert_eq!(pids.len(), CONTAINERS);
    for &pid in &pids {
        assert_eq!(field(&read(pid, "status"), "Threads:"), 1, "one thread each");
    }
    // What a start still causes has to be over first: a shim settles some seconds after it.
    let end = Instant::now() + SETTLED;
    let mut woken = wakes(&pids);
    while !woken.is_empty() && Instant::now() < end {
        woken = wakes(&pids);
    }
    let memory: Vec<(u64, u64)> = pids
        .iter()
        .map(|&pid| {
            let text = read(pid, "smaps_rollup");
            (field(&text, "Pss:"), field(&text, "Private_Clean:") + field(&text, "Private_Dirty:"))
        })
        .collect();
    let count = memory.len() as u64;
    let pss = memory.iter().map(|(pss, _)| pss).sum::<u64>() / count;
    let private = memory.iter().map(|(_, private)| private).sum::<u64>() / count;
    tests::host::figure(&format!("{CONTAINERS} idle shims: PSS {pss} KiB, private {private} KiB each"));
    let keeper = daemon.nursery().named("taffrail-keeper")[0];
    let keeper_pss = field(&read(keeper, "smaps_rollup"), "Pss:");
    let descriptors = fs::read_dir(format!("/proc/{keeper}/fd")).unwrap().count();
    tests::host::figure(&format!("their keeper: PSS {keeper_pss} KiB, {descriptors} descriptors"));
    assert!(keeper_pss <= KEEPER_PSS_MAX_KIB, "the keeper's PSS is {keeper_pss} KiB");
    assert!(descriptors <= KEEPER_DESCRIPTORS_MAX, "the keeper has {descriptors} descriptors");
    assert!(woken.is_empty(), "woken within {QUIET:?}, pid and times: {woken:?}");
    assert!(pss <= PSS_MAX_KIB, "PSS {pss} KiB each; promised {PSS_MAX_KIB}");
    assert!(private <= PRIVATE_MAX_KIB, "private {private} KiB each; promised {PRIVATE_MAX_KIB}");
}
