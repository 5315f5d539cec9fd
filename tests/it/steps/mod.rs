//! What may happen at each named step of the daemon and of a shim: death as by SIGKILL, failure, delay. The caller's
//! retry converges, the exit codes are true, whoever runs beside it does not notice, and in the end nothing is left.
//!
//! Needs the programs with failpoints: `make build FAILPOINTS=1`. Never: a step that is not listed.

mod ground;
mod life;

use tests::host;

use self::ground::{Ground, Whose, points, say};

/// Steps that no life here comes by. A result of CNI has its own test (`cni_crash`), as a file system without overlay
/// has beside its code; a refused event of the shim's machine is one that its service lets through, and it lets none.
const ELSEWHERE: [&str; 3] = ["network.record", "rootfs.bind", "supervise.refuse"];

/// A shim's step is hit several times in a life: it dies at the first in the short form, at each in the long one.
const HITS: u64 = 1;
const HITS_FULL: u64 = 20;

#[test]
fn the_daemon_may_die_at_every_step() {
    let Some(mut ground) = Ground::new() else { return };
    let points = points(Whose::Daemon, &ELSEWHERE);
    for point in &points {
        ground.daemon_dies_at(&point.name);
    }
    say("kill -9 of the daemon at each of its steps", points.len(), ground.end());
}

#[test]
fn every_step_of_the_daemon_may_fail() {
    let Some(mut ground) = Ground::new() else { return };
    let points = points(Whose::Daemon, &ELSEWHERE);
    let points: Vec<_> = points.iter().filter(|point| point.fails).collect();
    for point in &points {
        ground.fails_at(&point.name);
    }
    say("failure of each step of the daemon that can fail", points.len(), ground.end());
}

#[test]
fn every_step_of_the_daemon_may_be_given_up() {
    let Some(mut ground) = Ground::new() else { return };
    let points = points(Whose::Daemon, &ELSEWHERE);
    for point in &points {
        ground.is_given_up_at(&point.name);
    }
    say("calls given up in each step of the daemon", points.len(), ground.end());
}

/// Each of these processes dies at each of its steps.
fn die(of: Whose, what: &str) {
    let Some(mut ground) = Ground::new() else { return };
    let points = points(of, &ELSEWHERE);
    let most = if host::full() { HITS_FULL } else { HITS };
    for point in &points {
        assert!(ground.dies_at(&point.name, 1), "nobody comes by {}", point.name);
        for hit in 2..=most {
            if !ground.dies_at(&point.name, hit) {
                break;
            }
        }
    }
    let (unnoticed, noticed) = ground.noticed();
    host::figure(&format!(
        "{what}: {unnoticed} deaths unnoticed by the caller; of the others it said: {noticed:#?}"
    ));
    say(what, points.len(), ground.end());
}

#[test]
fn a_shim_may_die_at_every_step() {
    die(Whose::Shim, "kill -9 of a shim at each of its steps");
}

#[test]
fn the_keeper_may_die_at_every_step() {
    die(Whose::Keeper, "kill -9 of the keeper at each of its steps");
}

#[test]
fn every_step_of_a_shim_may_fail() {
    let Some(mut ground) = Ground::new() else { return };
    let points = points(Whose::Shim, &ELSEWHERE);
    let points: Vec<_> = points.iter().filter(|point| point.fails).collect();
    for point in &points {
        ground.fails_at(&point.name);
    }
    say("failure of each step of a shim that can fail", points.len(), ground.end());
}

#[test]
fn every_step_of_a_shim_may_be_given_up() {
    let Some(mut ground) = Ground::new() else { return };
    let points = points(Whose::Shim, &ELSEWHERE);
    for point in &points {
        ground.is_given_up_at(&point.name);
    }
    say("calls given up in each step of a shim", points.len(), ground.end());
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
