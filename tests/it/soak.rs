//! The soak: pods come and go under a kubelet's loops while everything that may break does. `make soak MINUTES=3
//! SEED=7` runs it alone.
//!
//! Never: a fault that is not counted; a violation that is forgiven.

use std::{
    env, fs,
    time::{Duration, Instant},
};

use tests::{
    bystander::Bystander,
    chaos::{Chaos, Scope},
    daemon::{Daemon, Options},
    failpoints::{self, Failpoints},
    host,
    kubelet_model::{Node, Pace, Truth},
    random::Random,
};

/// How long: in continuous integration it shares half an hour with all other tests.
const MINUTES: u64 = 3;
const MINUTES_FULL: u64 = 30;
/// Pods at once, and percent of calls that are given up.
const PODS: usize = 6;
const FICKLE: u64 = 8;
/// Between two looks at the daemon's memory.
const LOOK: Duration = Duration::from_millis(500);
/// What the daemon's memory may grow by from the beginning to the end of its second half, by a straight line through
/// the looks: in a short run what is being done just then weighs more than a leak, which grows with the time.
const GROWTH_KIB: f64 = 3072.0;
/// Descriptors and threads of the daemon that no number of faults may lead beyond: some for each of the pods' containers
/// and the calls about them; the pools have their own bounds.
const DESCRIPTORS: usize = 300;
const THREADS: usize = 120;
/// The same of the keeper, while it is spared: it keeps some of the pods' containers, and nothing of those that are gone.
const KEEPER_GROWTH_KIB: f64 = 256.0;
const KEEPER_DESCRIPTORS: usize = 250;
/// Looks at the beginning of that half that are left out: the daemon may be young.
const WARM_UP: usize = 10;

fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The daemon's proportional memory in KiB.
fn pss(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// The keeper's process, its memory and its descriptors.
fn keeper(daemon: &Daemon) -> Option<(u32, f64, usize)> {
    let pid = *daemon.nursery().named("taffrail-keeper").first()?;
    Some((pid, pss(pid)?, fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count()))
}

/// What must be true at any moment, where it costs little to look.
fn look_around(daemon: &Daemon, truth: &Truth, most: &mut (usize, usize)) {
    let count =
        |what: &str| fs::read_dir(format!("/proc/{}/{what}", daemon.pid())).map_or(0, Iterator::count);
    let (descriptors, threads) = (count("fd"), count("task"));
    *most = (most.0.max(descriptors), most.1.max(threads));
    if descriptors > DESCRIPTORS || threads > THREADS {
        truth.violate(format!("the daemon has {descriptors} descriptors and {threads} threads"));
    }
}

/// By how much a straight line through these grows from its first to its last; and their mean.
fn growth(looks: &[f64]) -> (f64, f64) {
    let count = looks.len() as f64;
    let mean = looks.iter().sum::<f64>() / count.max(1.0);
    let middle = (count - 1.0) / 2.0;
    let at = |nr: usize| nr as f64 - middle;
    let along: f64 = looks.iter().enumerate().map(|(nr, look)| at(nr) * (look - mean)).sum();
    let square: f64 = (0..looks.len()).map(|nr| at(nr) * at(nr)).sum();
    (if square > 0.0 { along / square * (count - 1.0) } else { 0.0 }, mean)
}

#[test]
fn pods_come_and_go_while_everything_breaks() {
    let Some(program) = failpoints::program() else { return };
    let points = Failpoints::default();
    let environment = points.environment();
    let options = Options { program: Some(program), environment, ..Options::default() };
    let Some(mut daemon) = Daemon::start_with(options) else { return };
    let Some(bystander) = Bystander::start(&mut daemon) else { return };
    let seed = number("TAFFRAIL_SOAK_SEED", Random::fresh_seed());
    let minutes = number("TAFFRAIL_SOAK_MINUTES", if host::full() { MINUTES_FULL } else { MINUTES });
    host::figure(&format!("soak: seed {seed}, {minutes} min"));
    let (half, quarter) = (Duration::from_secs(minutes * 30), Duration::from_secs(minutes * 15));

    let pace = Pace { pods: PODS, fickle: FICKLE, seed, logs: daemon.path("logs") };
    let node = Node::start(daemon.client().clone(), &pace);
    let truth = &node.caller.clone().truth;
    let mut chaos = Chaos::new(points, seed, vec![bystander.id().to_owned()]);
    let mut most = (0, 0);
    chaos
        .go_on(&mut daemon, truth, (Scope::Everything, half), |daemon| look_around(daemon, truth, &mut most));
    let (mut looks, mut keepers, mut looked) = (Vec::new(), Vec::new(), Instant::now());
    // What was set to kill the daemon must not do so now.
    chaos.calm(&mut daemon, truth);
    let pid = daemon.pid();
    for scope in [Scope::SparesTheDaemon, Scope::SparesTheKeeper] {
        if scope == Scope::SparesTheKeeper {
            chaos.until_kept(&mut daemon, truth);
        }
        chaos.go_on(&mut daemon, truth, (scope, quarter), |daemon| {
            look_around(daemon, truth, &mut most);
            if looked.elapsed() >= LOOK && daemon.pid() == pid {
                looked = Instant::now();
                looks.extend(pss(pid));
                keepers.extend(keeper(daemon).filter(|_| scope == Scope::SparesTheKeeper));
            }
        });
    }
    let faults = chaos.end(&mut daemon, truth);
    let (dead, may_lose) = truth.deaths(|deaths| deaths.counts());
    let summary = node.end();
    bystander.check(&daemon, "the soak");
    bystander.end(&daemon);

    let (calls, given_up, refused) = summary.calls;
    let (grown, mean) = growth(looks.get(WARM_UP..).unwrap_or_default());
    let of_keeper: Vec<f64> = keepers.iter().skip(WARM_UP).map(|(_, pss, _)| *pss).collect();
    let (keeper_grown, keeper_mean) = growth(&of_keeper);
    let held = keepers.iter().map(|(.., descriptors)| *descriptors).max().unwrap_or_default();
    host::figure(&format!(
        "soak: seed {seed}, {minutes} min, {} pods, {} containers ended, {} lost ({dead} shims died, {may_lose} \
         of them at a keeper's death), {calls} calls ({given_up} given up, {refused} refused); {faults}; the daemon's memory {mean:.0} KiB, grown by {grown:.0} KiB \
         in the second half, {} descriptors and {} threads at most; the keeper's {keeper_mean:.0} KiB, grown by \
         {keeper_grown:.0} KiB in the last quarter, {held} descriptors at most; {} violations",
        summary.pods,
        summary.ended,
        summary.lost,
        most.0,
        most.1,
        summary.violations.len()
    ));
    assert!(!looks.is_empty(), "the daemon's memory was not looked at");
    let violations = summary.violations.join("\n");
    assert!(violations.is_empty(), "seed {seed}:\n{violations}\n{}", daemon.log_tail());
    let first = keepers.first().map(|(pid, ..)| *pid);
    assert!(
        first.is_some() && keepers.iter().all(|(pid, ..)| Some(*pid) == first),
        "seed {seed}: {keepers:?}"
    );
    assert!(keeper_grown <= KEEPER_GROWTH_KIB, "seed {seed}: the keeper's memory grows: {keepers:?}");
    assert!(held <= KEEPER_DESCRIPTORS, "seed {seed}: the keeper's descriptors: {keepers:?}");
    assert!(grown <= GROWTH_KIB, "the daemon's memory grows by {grown:.0} KiB: {looks:?}");
}

#[test]
fn a_line_that_rises_is_seen_to() {
    let rising: Vec<f64> = (0..100).map(|nr| 1000.0 + f64::from(nr) * 10.0).collect();
    let (grown, _) = growth(&rising);
    assert!((grown - 990.0).abs() < 1.0, "{grown}");
    let flat: Vec<f64> = (0..100).map(|nr| f64::from(nr % 2) * 100.0).collect();
    assert!(growth(&flat).0.abs() < 10.0);
}
