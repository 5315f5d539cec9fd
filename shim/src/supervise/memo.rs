//! What a shim writes down of its container's life for its successor.
//!
//! Owns: the form. Never: writes it; decides.

use std::time::Duration;

use protobuf::Message;
use protocol::{
    keeper::{Remembered, RememberedExec},
    shim,
};

use super::{
    execs::Execs,
    facts::{Facts, failure},
    journal::Journal,
    launch::Groups,
    machine::State,
};
use crate::{fault::Fault, sys::pidfd::Ended};

/// Room between the sequence number that is written down and a successor's first: states that were told but not
/// written down, of which one step makes at most a few.
const SEQUENCE_GAP: u64 = 16;

/// Writes all of it down.
pub(crate) fn remember(journal: &Journal, state: State, facts: &Facts, oom_kills: u32, execs: &Execs) {
    let mut memo = Remembered {
        state: state.number(),
        sequence: facts.sequence,
        init_pid: facts.init_pid,
        created_at: facts.created_at,
        started_at: facts.started_at,
        never_started: facts.never_started,
        oom_kills,
        execs: execs.memo(),
        next_exec: execs.next_number(),
        ..Remembered::default()
    };
    if let Some((ended, at)) = facts.ended {
        (memo.has_ended, memo.ended_at) = (true, at);
        (memo.signaled, memo.unknown, memo.code) = ended.to_parts();
    }
    if let Some(why) = &facts.failure {
        memo.failed = true;
        (memo.failed_step, memo.failed_message) = (why.step.clone(), why.message.clone());
        memo.failed_timed_out = why.timed_out;
    }
    // The memory is there and large enough. Where it is not, a successor goes on from an earlier state.
    if let Ok(bytes) = memo.write_to_bytes() {
        drop(journal.remember(&bytes));
    }
}

/// Reads what a predecessor has written down.
pub(crate) fn recall(journal: &Journal) -> Result<(State, Facts, Remembered), Fault> {
    let memo = Remembered::parse_from_bytes(&journal.remembered()?)
        .map_err(|error| Fault::new(format!("what a killed shim wrote down cannot be read: {error}")))?;
    let number = usize::try_from(memo.state).unwrap_or(usize::MAX);
    let state = State::ALL.get(number).copied();
    let state = state.ok_or_else(|| Fault::new("what a killed shim wrote down is of no state"))?;
    let ended = Ended::of_parts(memo.signaled, memo.unknown, memo.code);
    let why = memo.failed.then(|| failure(&memo.failed_step, &memo.failed_message, memo.failed_timed_out));
    let facts = Facts {
        sequence: memo.sequence + SEQUENCE_GAP,
        init_pid: memo.init_pid,
        created_at: memo.created_at,
        started_at: memo.started_at,
        ended: memo.has_ended.then_some((ended, memo.ended_at)),
        failure: why,
        never_started: memo.never_started,
        exit_record: Vec::new(),
        replaced: 0,
    };
    Ok((state, facts, memo))
}

/// The groups of a remembered exec, checked as if they were asked for anew.
pub(crate) fn groups(exec: &RememberedExec) -> Result<Groups, Fault> {
    Groups::check(shim::Cgroups {
        unified: exec.unified.clone(),
        memory: exec.memory.clone(),
        freezer: exec.freezer.clone(),
        ..shim::Cgroups::default()
    })
}

/// Milliseconds of a duration that a command line gave.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
