//! What may happen at each named step of the daemon, of a shim and of the keeper: death as by SIGKILL, failure, delay.
//! The caller's retry converges, the exit codes are true, whoever runs beside it does not notice, and in the end nothing
//! is left.
//!
//! Needs the programs with failpoints: `make build FAILPOINTS=1`. Never: a step that is not listed, nor passes over one
//! that is.

mod ground;
mod life;
mod ways;

use tests::{failpoints::Point, host};

use self::ground::{Ground, Network, Whose, is_everywhere, points, say};

/// A shim's step is hit several times in a life: it dies at the first in the short form, at each in the long one. So it
/// is with what is a part of many steps.
const HITS: u64 = 1;
const HITS_FULL: u64 = 20;
/// Writes of state files in a life, in the long form.
const WRITES_FULL: u64 = 60;
/// And in the short one: the first ones are a sandbox's, the later ones a container's.
const WRITES: u64 = 6;

/// At how many hits of a step something happens.
fn hits(step: &str) -> u64 {
    match (is_everywhere(step), host::full()) {
        (true, true) => WRITES_FULL,
        (true, false) => WRITES,
        (false, true) => HITS_FULL,
        (false, false) => HITS,
    }
}

/// Lets it happen at each point of these processes that is wanted, at each hit of it that counts, by either network.
fn each(
    of: Whose,
    what: &str,
    is_wanted: fn(&Point) -> bool,
    hits: fn(&str) -> u64,
    happen: fn(&mut Ground, &str, u64) -> bool,
) {
    let (mut count, mut runs) = (0, 0);
    for network in [Network::Bridge, Network::Plugin] {
        let points: Vec<_> = points(of, network).into_iter().filter(is_wanted).collect();
        if points.is_empty() {
            continue;
        }
        let Some(mut ground) = Ground::new(network) else { return };
        for point in &points {
            assert!(happen(&mut ground, &point.name, 1), "nobody comes by {}", point.name);
            for hit in 2..=hits(&point.name) {
                if !happen(&mut ground, &point.name, hit) {
                    break;
                }
            }
        }
        ground.tell(what);
        count += points.len();
        runs += ground.end();
    }
    say(what, count, runs);
}

fn all(_: &Point) -> bool {
    true
}

fn can_fail(point: &Point) -> bool {
    point.fails
}

/// Each step once; what is a part of many steps at several hits.
fn few_hits(step: &str) -> u64 {
    if is_everywhere(step) { hits(step) } else { 1 }
}

fn one_hit(_: &str) -> u64 {
    1
}

#[test]
fn the_daemon_may_die_at_every_step() {
    each(Whose::Daemon, "kill -9 of the daemon at each of its steps", all, few_hits, Ground::daemon_dies_at);
}

#[test]
fn every_step_of_the_daemon_may_fail() {
    let what = "failure of each step of the daemon that can fail";
    each(Whose::Daemon, what, can_fail, few_hits, Ground::fails_at);
}

#[test]
fn every_step_of_the_daemon_may_be_given_up() {
    each(Whose::Daemon, "calls given up in each step of the daemon", all, one_hit, Ground::is_given_up_at);
}

#[test]
fn a_shim_may_die_at_every_step() {
    each(Whose::Shim, "kill -9 of a shim at each of its steps", all, hits, Ground::dies_at);
}

#[test]
fn every_step_of_a_shim_may_fail() {
    each(Whose::Shim, "failure of each step of a shim that can fail", can_fail, one_hit, Ground::fails_at);
}

#[test]
fn every_step_of_a_shim_may_be_given_up() {
    each(Whose::Shim, "calls given up in each step of a shim", all, one_hit, Ground::is_given_up_at);
}

#[test]
fn the_keeper_may_die_at_every_step() {
    each(Whose::Keeper, "kill -9 of the keeper at each of its steps", all, hits, Ground::dies_at);
}

/// The hits of a life are of shims made ahead.
#[test]
fn every_step_of_the_keeper_may_fail() {
    let what = "failure of each step of the keeper that can fail";
    each(Whose::Keeper, what, can_fail, |_| HITS_FULL, Ground::fails_at);
    let Some(mut ground) = Ground::new(Network::Bridge) else { return };
    ground.replacement_fails();
    say("a shim that cannot be replaced at once", 1, ground.end());
}

#[test]
fn every_step_of_the_keeper_may_be_given_up() {
    each(Whose::Keeper, "calls given up in each step of the keeper", all, one_hit, Ground::is_given_up_at);
}

#[test]
fn the_program_for_use_has_no_failpoints() {
    if tests::failpoints::program().is_none() {
        return;
    }
    let text = |path| std::fs::read(path).unwrap();
    let has = |program: &[u8], word: &str| memchr::memmem::find(program, word.as_bytes()).is_some();
    let for_tests = text(host::workspace().join("target/dist-failpoints/taffrail"));
    for word in ["TAFFRAIL_FAILPOINTS", "the failpoint ", "supervise.exit_record"] {
        assert!(has(&for_tests, word), "the build for tests has {word:?}");
        assert!(!has(&text(host::taffrail()), word), "the program for use has {word:?}");
    }
}
