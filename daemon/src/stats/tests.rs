//! Samples from forged folders.

use std::path::Path;

use super::{Stats, Usage, rates::Rates};
use crate::cgroups::StatFolders;

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        crate::store::replace(&folder.join(name), text.as_bytes()).unwrap();
    }
}

#[test]
fn v2_is_read_and_max_is_no_limit() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("cpu.stat", "usage_usec 1500\nuser_usec 1000\n"),
            ("memory.current", "1000\n"),
            ("memory.stat", "anon 400\nfile 500\ninactive_file 300\npgfault 7\npgmajfault 2\n"),
            ("memory.max", "max\n"),
            ("memory.swap.current", "0\n"),
            ("memory.swap.max", "4096\n"),
            ("pids.current", "3\n"),
        ],
    );
    let usage = Stats::default().usage("a", &StatFolders::V2(folder.path().into())).unwrap().unwrap();
    assert_eq!(usage.cpu_nanos, 1_500_000);
    assert_eq!((usage.memory.working_set, usage.memory.rss, usage.memory.limit), (700, 400, None));
    assert_eq!((usage.memory.swap_usage, usage.memory.swap_limit), (Some(0), Some(4096)));
    assert_eq!((usage.tasks, usage.memory.page_faults), (Some(3), 7));
    assert!(usage.at > 0);
}

#[test]
fn v1_is_read_over_its_hierarchies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write(
        path,
        &[
            ("cpuacct.usage", "77\n"),
            ("memory.usage_in_bytes", "1000\n"),
            ("memory.stat", "total_inactive_file 1300\ntotal_rss 5\nhierarchical_memory_limit 2048\n"),
        ],
    );
    let folders = StatFolders::V1 { cpuacct: path.into(), memory: path.into(), pids: path.join("no") };
    let usage = Stats::default().usage("a", &folders).unwrap().unwrap();
    assert_eq!((usage.cpu_nanos, usage.tasks), (77, None));
    // More inactive pages than usage: not below nothing.
    assert_eq!((usage.memory.working_set, usage.memory.limit), (0, Some(2048)));
}

#[test]
fn what_is_gone_is_none_and_not_an_error() {
    let folders = StatFolders::V2("/sys/fs/cgroup/taffrail-never-there".into());
    assert_eq!(Stats::default().usage("a", &folders).unwrap(), None);
}

#[test]
fn a_rate_needs_two_samples_and_survives_a_clock_set_back() {
    let rates = Rates::default();
    let second = 1_000_000_000;
    assert_eq!(rates.rate("a", 10 * second, 100), None);
    assert_eq!(rates.rate("a", 12 * second, 100 + 1_000_000), Some(500_000));
    // Too soon: the rate of before.
    assert_eq!(rates.rate("a", 12 * second + 1, 100 + 9_000_000), Some(500_000));
    assert_eq!(rates.rate("a", second, 0), None);
    rates.keep_only(&|_| false);
    assert_eq!(rates.rate("a", 20 * second, 0), None);
}

#[test]
fn sums_of_containers_have_no_limit() {
    let mut one = Usage { cpu_nanos: 5, tasks: Some(2), ..Usage::default() };
    one.memory.limit = Some(9);
    let sum = one.clone().plus(&one);
    assert_eq!((sum.cpu_nanos, sum.tasks, sum.memory.limit), (10, Some(4), None));
}
