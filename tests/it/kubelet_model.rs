//! The kubelet model against the program for use: calls are given up, the daemon is killed, and all that must be true
//! is.
//!
//! Never: a fault that needs the build with failpoints; the soak has those.

use std::time::{Duration, Instant};

use tests::{
    daemon::Daemon,
    eventually::within,
    host,
    kubelet_model::{Node, Pace},
    random::Random,
};

/// How long the pods come and go.
const TIME: Duration = Duration::from_secs(20);
/// Between two deaths of the daemon.
const PEACE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));

#[test]
fn what_must_be_true_is_while_the_daemon_dies_and_calls_are_given_up() {
    let Some(mut daemon) = Daemon::start() else { return };
    let seed = Random::fresh_seed();
    let mut random = Random::new(seed);
    let pace = Pace { pods: 6, fickle: 10, seed, logs: daemon.path("logs") };
    let node = Node::start(daemon.client().clone(), &pace);
    let begun = Instant::now();
    let mut deaths = 0;
    while begun.elapsed() < TIME {
        let peace = random.between(PEACE.0, PEACE.1);
        within(peace, || None::<()>);
        daemon.restart();
        deaths += 1;
    }
    let summary = node.end();
    let (calls, given_up, refused) = summary.calls;
    host::figure(&format!(
        "kubelet model, seed {seed}: {} pods, {} containers ended, {calls} calls ({given_up} given up, {refused} refused), \
         {deaths} deaths of the daemon, {} violations",
        summary.pods,
        summary.ended,
        summary.violations.len()
    ));
    assert!(summary.violations.is_empty(), "seed {seed}:\n{}", summary.violations.join("\n"));
    assert_eq!(summary.lost, 0, "no shim was killed");
}
