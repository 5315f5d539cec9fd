//! The machine's whole matrix against its golden file, and every short life.

use super::{Effect, Event, State, step};

const EVENTS: [Event; 15] = [
    Event::Launch,
    Event::CreateDone,
    Event::CreateFailed,
    Event::UndoDone,
    Event::Start,
    Event::StartDone,
    Event::StartFailed,
    Event::InitEnded,
    Event::OutputEnded,
    Event::DrainOver,
    Event::Recorded,
    Event::Dismiss,
    Event::ParentGone,
    Event::TakenOver,
    Event::TakenOverIdle,
];

const GOLDEN: &str = include_str!("../../../../docs/lifecycle/shim.txt");

fn matrix() -> String {
    let mut text = String::from(
        "# The shim's machine: state, event -> next state, effects in order. `-`: nothing to do.\n\
         # Written by the test `the_matrix_is_the_golden_file`; the table is shim/src/supervise/machine/mod.rs.\n",
    );
    for state in State::ALL {
        text.push('\n');
        for event in EVENTS {
            let (next, effects) = step(state, event);
            let effects: Vec<String> = effects.iter().map(|effect| format!("{effect:?}")).collect();
            let effects = if effects.is_empty() { "-".to_owned() } else { effects.join(", ") };
            let (state, event, next) = (format!("{state:?}"), format!("{event:?}"), format!("{next:?}"));
            text.push_str(&format!("{state:13} {event:13} -> {next:13} {effects}\n"));
        }
    }
    text
}

#[test]
fn the_matrix_is_the_golden_file() {
    let now = matrix();
    if now != GOLDEN {
        let path = std::env::temp_dir().join("taffrail-shim-lifecycle.txt");
        std::fs::File::create(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, now.as_bytes()))
            .unwrap();
        panic!("docs/lifecycle/shim.txt differs; the present matrix is in {}", path.display());
    }
}

/// Follows every life of this many events and looks at what was done in it.
fn live(state: State, done: &mut Vec<Effect>, left: usize) {
    let count = |effect: Effect| done.iter().filter(|&&e| e == effect).count();
    for once in [Effect::RunCreate, Effect::RunUndo, Effect::RunStart, Effect::Drain, Effect::Record] {
        assert!(count(once) <= 1, "{once:?} twice: {done:?}");
    }
    if state == State::Exited {
        assert_eq!(count(Effect::Record), 1, "exited without a record: {done:?}");
        let position = |effect| done.iter().position(|&e| e == effect);
        if count(Effect::RunUndo) == 1 {
            let answer = position(Effect::Answer).expect("the launch was answered");
            assert!(position(Effect::Record) < Some(answer), "told before the record: {done:?}");
        }
    }
    if state == State::Left {
        assert_eq!(done.iter().filter(|&&e| e == Effect::Leave).count(), 1);
        return;
    }
    if left == 0 {
        return;
    }
    // A successor does again what may not have been done: its lives are explored with the daemon's, in tests/it.
    for event in EVENTS.into_iter().filter(|e| !matches!(e, Event::TakenOver | Event::TakenOverIdle)) {
        let (next, effects) = step(state, event);
        if next == state {
            assert!(effects.iter().all(|&e| e == Effect::Refuse), "{state:?} {event:?} does not settle");
            continue;
        }
        let before = done.len();
        done.extend(effects);
        live(next, done, left - 1);
        done.truncate(before);
    }
}

#[test]
fn every_life_records_once_and_leaves_once() {
    live(State::Born, &mut Vec::new(), 12);
}

#[test]
fn a_shim_with_a_container_never_leaves_by_itself() {
    for state in State::ALL {
        for event in EVENTS {
            let (next, _) = step(state, event);
            let lawful = match state {
                State::Born => matches!(event, Event::Dismiss | Event::ParentGone),
                State::Exited => event == Event::Dismiss,
                _ => false,
            };
            assert_eq!(next == State::Left && state != State::Left, lawful, "{state:?} {event:?}");
        }
    }
}
