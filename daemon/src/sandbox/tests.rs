//! The machine's matrix as a golden file, and every sequence of events up to a length.

use std::path::PathBuf;

use super::lifecycle::{Effect, Event, State, step};

const STATES: [State; 7] = [
    State::Creating,
    State::Ready,
    State::Stopping,
    State::Undone,
    State::NotReady,
    State::Reclaiming,
    State::Gone,
];
const EVENTS: [Event; 9] = [
    Event::RunDone,
    Event::RunFailed,
    Event::AwaitReady,
    Event::AskStop,
    Event::StopDone,
    Event::StopFailed,
    Event::AskRemove,
    Event::ReclaimDone,
    Event::ReclaimFailed,
];

#[test]
fn the_matrix_is_the_documented_one() {
    let mut text =
        String::from("The life of a sandbox: state, event -> state, effects. Idle pairs are left out.\n");
    for state in STATES {
        text.push('\n');
        for event in EVENTS {
            let (next, effects) = step(state, event);
            if next != state || !effects.is_empty() {
                text.push_str(&format!("{state:?}, {event:?} -> {next:?} {effects:?}\n"));
            }
        }
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/lifecycle/sandbox.txt");
    crate::test_golden(&path, &text);
}

/// Every question is answered or deferred; a procedure begins only when none runs; gone is for ever.
#[test]
fn every_sequence_keeps_the_invariants() {
    fn walk(state: State, running: bool, depth: usize) {
        if depth == 0 {
            return;
        }
        for event in EVENTS {
            let ends = !matches!(event, Event::AwaitReady | Event::AskStop | Event::AskRemove);
            if ends && !running {
                continue;
            }
            let (next, effects) = step(state, event);
            if !ends {
                assert!(!effects.is_empty(), "{state:?} leaves {event:?} without an answer");
            }
            let begins =
                effects.iter().filter(|e| matches!(e, Effect::BeginStop | Effect::BeginReclaim)).count();
            assert!(begins <= 1);
            let ended = ends && (next != state || state == State::Gone);
            if begins == 1 {
                assert!(!running || ended, "{state:?} {event:?} begins a second procedure");
            }
            if state == State::Gone {
                assert_eq!(next, State::Gone);
            }
            walk(next, begins == 1 || (running && !ended), depth - 1);
        }
    }
    walk(State::Creating, true, 6);
}
