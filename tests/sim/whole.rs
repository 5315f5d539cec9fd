//! One container's life with everything that may happen to it; and what is found when a guard is taken away.
//!
//! Never: a budget that is not said.

use std::io::Write;

use crate::{
    explore::{Explored, explore},
    machines::{Machines, OURS, container, sandbox, shim, shim_step},
    node::{Budget, Node},
    pod::Pod,
};

/// States at most: more than the smaller budget leads to; of the larger one, what fits two GiB and three minutes.
const MOST: usize = 3_000_000;

/// What may happen within a run of `make test`; all of it is seen.
const BUDGET: Budget = Budget {
    starts: 1,
    stops: 1,
    removes: 1,
    daemon_deaths: 1,
    shim_deaths: 1,
    keeper_deaths: 1,
    failures: 1,
    silences: 1,
};
/// What may happen within a run of `make test-full`, after the other; the shortest sequences of it are seen.
const BUDGET_FULL: Budget =
    Budget { starts: 2, stops: 2, removes: 2, daemon_deaths: 2, shim_deaths: 2, ..BUDGET };

/// The product's machines, with all guards.
fn ours(budget: Budget) -> Node {
    Node { machines: OURS, budget, ends_commands: true, heeds_senders: true }
}

fn say(what: &str, explored: &Explored) {
    let text = format!("figure: {}\n", explored.say(what));
    // Past the capture of libtest.
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

#[test]
fn nothing_that_must_be_true_is_broken() {
    let explored = explore(&ours(BUDGET), MOST);
    say("a container's life, explored", &explored);
    assert!(explored.violation.is_none() && explored.whole);
    if std::env::var_os("TAFFRAIL_TEST_FULL").is_some() {
        let explored = explore(&ours(BUDGET_FULL), MOST);
        say("a container's life with more deaths and questions, explored", &explored);
        assert!(explored.violation.is_none());
    }
}

#[test]
fn a_sandbox_is_what_it_is_said_to_be() {
    let explored = explore(&Pod { machine: sandbox::step }, MOST);
    say("a sandbox's life, explored", &explored);
    assert!(explored.violation.is_none() && explored.whole);

    // A stop that failed leaves it stopped.
    fn easy(state: sandbox::State, event: sandbox::Event) -> (sandbox::State, Vec<sandbox::Effect>) {
        match sandbox::step(state, event) {
            (sandbox::State::Undone, effects) => (sandbox::State::NotReady, effects),
            other => other,
        }
    }
    let explored = explore(&Pod { machine: easy }, MOST);
    say("broken on purpose: a stop that failed has stopped it", &explored);
    let why = explored.violation.expect("it is found").0;
    assert!(why.contains("said to be stopped"), "{why}");
}

/// The violation that the exploration finds with these machines.
fn found(what: &str, machines: Machines) -> String {
    found_in(what, &Node { machines, ..ours(BUDGET) })
}

fn found_in(what: &str, node: &Node) -> String {
    let explored = explore(node, MOST);
    say(what, &explored);
    explored.violation.expect("it is found").0
}

#[test]
fn a_guard_that_is_taken_away_is_missed() {
    use container::{Effect, Event, State};
    // Who does not answer is killed.
    fn impatient(state: State, event: Event) -> (State, Vec<Effect>) {
        match (state, event) {
            (State::Running, Event::ShimSilent) => (State::Stopping, vec![Effect::Kill]),
            _ => container::step(state, event),
        }
    }
    let why = found(
        "broken on purpose: a silent shim's container is killed",
        Machines { container: impatient, ..OURS },
    );
    assert!(why.contains("nobody asked for it"), "{why}");

    // A stop that comes while the container starts is answered at once.
    fn hasty(state: State, event: Event) -> (State, Vec<Effect>) {
        match (state, event) {
            (State::Starting, Event::AskStop) => (State::Starting, vec![Effect::AnswerStopped]),
            _ => container::step(state, event),
        }
    }
    let why =
        found("broken on purpose: a stop does not wait for the start", Machines { container: hasty, ..OURS });
    assert!(why.contains("runs, or will"), "{why}");

    // A question that comes while the container is created is forgotten.
    fn forgetful(state: State, event: Event) -> (State, Vec<Effect>) {
        match (state, event) {
            (State::Creating, Event::AskStart) => (State::Creating, vec![]),
            _ => container::step(state, event),
        }
    }
    let why = found("broken on purpose: a start is not deferred", Machines { container: forgetful, ..OURS });
    assert!(why.contains("a caller waits"), "{why}");

    // A successor runs create again, whether it was begun or not.
    fn twice(state: shim::State, event: shim::Event) -> (shim::State, Vec<shim::Effect>) {
        match (state, event) {
            (shim::State::Creating, shim::Event::TakenOver) => shim_step(state, shim::Event::TakenOverIdle),
            _ => shim_step(state, event),
        }
    }
    let why = found("broken on purpose: a successor creates again", Machines { shim: twice, ..OURS });
    assert!(why.contains("a second time"), "{why}");

    // A shim leaves when it is told to, whatever runs.
    fn obedient(state: shim::State, event: shim::Event) -> (shim::State, Vec<shim::Effect>) {
        match (state, event) {
            (shim::State::Draining, shim::Event::OutputEnded) => {
                (shim::State::Exited, vec![shim::Effect::Publish])
            }
            _ => shim_step(state, event),
        }
    }
    let why =
        found("broken on purpose: an end is told before it is recorded", Machines { shim: obedient, ..OURS });
    assert!(!why.is_empty());

    // Shim and keeper are dead, and their command goes on.
    let careless = Node { ends_commands: false, ..ours(BUDGET) };
    let why = found_in("broken on purpose: a loss is recorded while the runtime's command lives", &careless);
    assert!(why.contains("runs, or will") || why.contains("whose end is recorded"), "{why}");

    // A shim hears its launch when the next daemon has looked, and takes it up all the same.
    let heedless = Node { heeds_senders: false, ..ours(BUDGET) };
    let why = found_in("broken on purpose: a launch is taken up whose sender is gone", &heedless);
    assert!(why.contains("refused for ever") || why.contains("whose end is recorded"), "{why}");
}
