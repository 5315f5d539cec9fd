//! The machine's matrix as a golden file, and every sequence of events up to a length.

use std::path::PathBuf;

use super::lifecycle::{Effect, Event, State, step};

const STATES: [State; 9] = [
    State::Creating,
    State::Created,
    State::Starting,
    State::Running,
    State::Stopping,
    State::Unknown,
    State::Exited,
    State::Reclaiming,
    State::Gone,
];
const EVENTS: [Event; 18] = [
    Event::CreateDone,
    Event::CreateFailed,
    Event::AwaitCreated,
    Event::AskStart,
    Event::StartDone,
    Event::StartFailed,
    Event::StartUnknown,
    Event::AskUpdate,
    Event::AskStop,
    Event::GraceOver,
    Event::KillOver,
    Event::RecordFailed,
    Event::Exited,
    Event::ShimSilent,
    Event::ShimBack,
    Event::AskRemove,
    Event::ReclaimDone,
    Event::ReclaimFailed,
];

#[test]
fn the_matrix_is_the_documented_one() {
    let mut text =
        String::from("The life of a container: state, event -> state, effects. Idle pairs are left out.\n");
    for state in STATES {
        text.push('\n');
        for event in EVENTS {
            let (next, effects) = step(state, event);
            if next != state || !effects.is_empty() {
                text.push_str(&format!("{state:?}, {event:?} -> {next:?} {effects:?}\n"));
            }
        }
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/lifecycle/container.txt");
    crate::test_golden(&path, &text);
}

fn is_question(event: Event) -> bool {
    matches!(
        event,
        Event::AwaitCreated | Event::AskStart | Event::AskUpdate | Event::AskStop | Event::AskRemove
    )
}

/// Every question is answered or deferred, from every state.
#[test]
fn no_question_is_left_without_an_answer() {
    for state in STATES {
        for event in EVENTS.into_iter().filter(|event| is_question(*event)) {
            let (_, effects) = step(state, event);
            assert!(!effects.is_empty(), "{state:?} leaves {event:?} without an answer");
        }
    }
}

/// Only an explicit stop or removal kills: a silent shim alone never does.
#[test]
fn nothing_is_killed_unasked() {
    fn walk(state: State, asked: bool, depth: usize) {
        if depth == 0 {
            return;
        }
        for event in EVENTS {
            let (next, effects) = step(state, event);
            let asked = asked || matches!(event, Event::AskStop | Event::AskRemove);
            let kills = effects.iter().any(|e| matches!(e, Effect::Kill | Effect::SendStopSignal));
            assert!(asked || !kills, "{state:?} {event:?} kills unasked");
            assert!(state != State::Gone || next == State::Gone);
            walk(next, asked, depth - 1);
        }
    }
    walk(State::Creating, false, 5);
    walk(State::Unknown, false, 5);
}

/// From everywhere there is a way to nothing left.
#[test]
fn gone_is_reachable_from_everywhere() {
    for start in STATES {
        let mut reached = std::collections::BTreeSet::from([start]);
        let mut open = vec![start];
        while let Some(state) = open.pop() {
            for event in EVENTS {
                let (next, _) = step(state, event);
                if reached.insert(next) {
                    open.push(next);
                }
            }
        }
        assert!(reached.contains(&State::Gone), "{start:?}");
    }
}
