//! The life of a container as a pure machine: state and event in, state and effects out.
//!
//! Its whole matrix is `docs/lifecycle/container.txt`. Owns: what may follow what. Never: async, IO, a clock,
//! a wildcard arm.

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// The create procedure runs.
    Creating,
    /// Made whole; no process yet.
    Created,
    /// The start procedure runs.
    Starting,
    /// Its program runs.
    Running,
    /// It was asked to end.
    Stopping,
    /// Its shim lives but does not answer.
    Unknown,
    /// It has ended; how is on disk.
    Exited,
    /// The reclaim procedure runs.
    Reclaiming,
    /// Nothing of it is left.
    Gone,
}

/// What can happen to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Event {
    /// The create procedure succeeded.
    CreateDone,
    /// The create procedure failed.
    CreateFailed,
    /// Somebody wants to know when it is created.
    AwaitCreated,
    /// StartContainer.
    AskStart,
    /// The start procedure succeeded.
    StartDone,
    /// The start procedure failed; an exit record says why.
    StartFailed,
    /// The start procedure got no word from a shim that lives: what became of the start is not known.
    StartUnknown,
    /// UpdateContainerResources.
    AskUpdate,
    /// StopContainer.
    AskStop,
    /// The grace period is over.
    GraceOver,
    /// It could not be killed in time.
    KillOver,
    /// The record of a container that was never started could not be written.
    RecordFailed,
    /// Its exit record is on disk.
    Exited,
    /// Its shim does not answer.
    ShimSilent,
    /// Its shim answers again: the container lives.
    ShimBack,
    /// RemoveContainer.
    AskRemove,
    /// The reclaim procedure found everything gone.
    ReclaimDone,
    /// The reclaim procedure left something behind.
    ReclaimFailed,
}

/// What the owner has to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// Keep this question and ask again after the next change of state.
    Defer,
    /// Answer those who wait for the creation: it is there.
    AnswerCreated,
    /// Answer those who wait for the creation: it failed.
    AnswerCreateFailed,
    /// Begin the start procedure.
    BeginStart,
    /// Answer StartContainer: it runs.
    AnswerStarted,
    /// Answer StartContainer: it failed.
    AnswerStartFailed,
    /// Answer StartContainer: not from this state.
    RefuseStart,
    /// Carry out the updates that wait, one after another.
    BeginUpdate,
    /// Answer UpdateContainerResources: not in this state.
    RefuseUpdate,
    /// Ask the process to end and arm the grace period.
    SendStopSignal,
    /// Let the grace period end earlier where this caller's is shorter.
    ShortenGrace,
    /// Kill it and arm the deadline of the kill.
    Kill,
    /// Write the record of a container that ended before it was started.
    RecordNeverStarted,
    /// Answer StopContainer: it has ended.
    AnswerStopped,
    /// Answer StopContainer and RemoveContainer: it cannot be killed.
    AnswerStopFailed,
    /// Begin the reclaim procedure.
    BeginReclaim,
    /// Answer RemoveContainer: it is gone; forget it.
    AnswerRemoved,
    /// Answer RemoveContainer: something is left.
    AnswerRemoveFailed,
}

use Effect as F;
use Event as E;
use State as S;

/// One step.
pub fn step(state: State, event: Event) -> (State, Vec<Effect>) {
    match state {
        S::Creating => creating(event),
        S::Created => created(event),
        S::Starting => starting(event),
        S::Running => running(event),
        S::Stopping => stopping(event),
        S::Unknown => unknown(event),
        S::Exited => exited(event),
        S::Reclaiming => reclaiming(event),
        S::Gone => gone(event),
    }
}

fn creating(event: Event) -> (State, Vec<Effect>) {
    match event {
        E::CreateDone => (S::Created, vec![F::AnswerCreated]),
        E::CreateFailed => (S::Reclaiming, vec![F::AnswerCreateFailed, F::BeginReclaim]),
        E::AwaitCreated | E::AskStart | E::AskUpdate | E::AskStop | E::AskRemove => {
            (S::Creating, vec![F::Defer])
        }
        E::StartDone
        | E::StartFailed
        | E::StartUnknown
        | E::GraceOver
        | E::KillOver
        | E::RecordFailed
        | E::Exited
        | E::ShimSilent
        | E::ShimBack
        | E::ReclaimDone
        | E::ReclaimFailed => (S::Creating, vec![]),
    }
}

fn created(event: Event) -> (State, Vec<Effect>) {
    match event {
        E::AwaitCreated => (S::Created, vec![F::AnswerCreated]),
        E::AskStart => (S::Starting, vec![F::BeginStart]),
        E::AskUpdate => (S::Created, vec![F::BeginUpdate]),
        E::AskStop => (S::Stopping, vec![F::Defer, F::RecordNeverStarted]),
        E::AskRemove => (S::Reclaiming, vec![F::Defer, F::BeginReclaim]),
        E::CreateDone
        | E::CreateFailed
        | E::StartDone
        | E::StartFailed
        | E::StartUnknown
        | E::GraceOver
        | E::KillOver
        | E::RecordFailed
        | E::Exited
        | E::ShimSilent
        | E::ShimBack
        | E::ReclaimDone
        | E::ReclaimFailed => (S::Created, vec![]),
    }
}

fn starting(event: Event) -> (State, Vec<Effect>) {
    match event {
        E::AwaitCreated => (S::Starting, vec![F::AnswerCreated]),
        // The same wish again, from a caller that lost the first answer: it gets the same one.
        E::AskStart => (S::Starting, vec![F::Defer]),
        E::StartDone => (S::Running, vec![F::AnswerStarted]),
        E::StartFailed => (S::Exited, vec![F::AnswerStartFailed, F::AnswerStopped]),
        E::StartUnknown => (S::Unknown, vec![F::AnswerStartFailed]),
        // A program may end before the start procedure does: its end is told after its start.
        E::Exited | E::AskUpdate | E::AskStop | E::AskRemove | E::ShimSilent => (S::Starting, vec![F::Defer]),
        E::CreateDone
        | E::CreateFailed
        | E::GraceOver
        | E::KillOver
        | E::RecordFailed
        | E::ShimBack
        | E::ReclaimDone
        | E::ReclaimFailed => (S::Starting, vec![]),
    }
}

fn running(event: Event) -> (State, Vec<Effect>) {
    match event {
        E::AwaitCreated => (S::Running, vec![F::AnswerCreated]),
        E::AskStart => (S::Running, vec![F::RefuseStart]),
        E::AskUpdate => (S::Running, vec![F::BeginUpdate]),
        E::AskStop => (S::Stopping, vec![F::Defer, F::SendStopSignal]),
        E::AskRemove => (S::Stopping, vec![F::Defer, F::Kill]),
        E::Exited => (S::Exited, vec![F::AnswerStopped]),
        E::ShimSilent => (S::Unknown, vec![]),
        E::CreateDone
        | E::CreateFailed
        | E::StartDone
        | E::StartFailed
        | E::StartUnknown
        | E::GraceOver
        | E::KillOver
        | E::RecordFailed
        | E::ShimBack
        | E::ReclaimDone
        | E::ReclaimFailed => (S::Running, vec![]),
    }
}

fn stopping(event: Event) -> (State, Vec<Effect>) {
    match event {
        E::AwaitCreated => (S::Stopping, vec![F::AnswerCreated]),
        E::AskStart => (S::Stopping, vec![F::RefuseStart]),
        E::AskUpdate => (S::Stopping, vec![F::BeginUpdate]),
        E::AskStop => (S::Stopping, vec![F::Defer, F::ShortenGrace]),
        E::AskRemove => (S::Stopping, vec![F::Defer, F::Kill]),
        E::GraceOver => (S::Stopping, vec![F::Kill]),
        E::KillOver => (S::Running, vec![F::AnswerStopFailed]),
        E::RecordFailed => (S::Created, vec![F::AnswerStopFailed]),
        E::Exited => (S::Exited, vec![F::AnswerStopped]),
        // The grace period counts on; its end kills past the shim.
        E::CreateDone
        | E::CreateFailed
        | E::StartDone
        | E::StartFailed
        | E::StartUnknown
        | E::ShimSilent
        | E::ShimBack
        | E::ReclaimDone
        | E::ReclaimFailed => (S::Stopping, vec![]),
    }
}

/// Nobody is killed for a silent shim; only an explicit stop or removal kills.
fn unknown(event: Event) -> (State, Vec<Effect>) {
    match event {
        E::AwaitCreated => (S::Unknown, vec![F::AnswerCreated]),
        E::AskStart => (S::Unknown, vec![F::RefuseStart]),
        E::AskUpdate => (S::Unknown, vec![F::RefuseUpdate]),
        E::AskStop | E::AskRemove => (S::Stopping, vec![F::Defer, F::Kill]),
        E::ShimBack => (S::Running, vec![]),
        E::Exited => (S::Exited, vec![F::AnswerStopped]),
        E::CreateDone
        | E::CreateFailed
        | E::StartDone
        | E::StartFailed
        | E::StartUnknown
        | E::GraceOver
        | E::KillOver
        | E::RecordFailed
        | E::ShimSilent
        | E::ReclaimDone
        | E::ReclaimFailed => (S::Unknown, vec![]),
    }
}

fn exited(event: Event) -> (State, Vec<Effect>) {
    match event {
        E::AwaitCreated => (S::Exited, vec![F::AnswerCreated]),
        E::AskStart => (S::Exited, vec![F::RefuseStart]),
        E::AskUpdate => (S::Exited, vec![F::RefuseUpdate]),
        E::AskStop => (S::Exited, vec![F::AnswerStopped]),
        E::AskRemove => (S::Reclaiming, vec![F::Defer, F::BeginReclaim]),
        E::CreateDone
        | E::CreateFailed
        | E::StartDone
        | E::StartFailed
        | E::StartUnknown
        | E::GraceOver
        | E::KillOver
        | E::RecordFailed
        | E::Exited
        | E::ShimSilent
        | E::ShimBack
        | E::ReclaimDone
        | E::ReclaimFailed => (S::Exited, vec![]),
    }
}

fn reclaiming(event: Event) -> (State, Vec<Effect>) {
    match event {
        E::AwaitCreated => (S::Reclaiming, vec![F::AnswerCreateFailed]),
        E::AskStart => (S::Reclaiming, vec![F::RefuseStart]),
        E::AskUpdate => (S::Reclaiming, vec![F::RefuseUpdate]),
        E::AskStop => (S::Reclaiming, vec![F::AnswerStopped]),
        E::AskRemove => (S::Reclaiming, vec![F::Defer]),
        E::ReclaimDone => (S::Gone, vec![F::AnswerRemoved]),
        E::ReclaimFailed => (S::Exited, vec![F::AnswerRemoveFailed]),
        E::CreateDone
        | E::CreateFailed
        | E::StartDone
        | E::StartFailed
        | E::StartUnknown
        | E::GraceOver
        | E::KillOver
        | E::RecordFailed
        | E::Exited
        | E::ShimSilent
        | E::ShimBack => (S::Reclaiming, vec![]),
    }
}

fn gone(event: Event) -> (State, Vec<Effect>) {
    match event {
        E::AwaitCreated => (S::Gone, vec![F::AnswerCreateFailed]),
        E::AskStart => (S::Gone, vec![F::RefuseStart]),
        E::AskUpdate => (S::Gone, vec![F::RefuseUpdate]),
        E::AskStop => (S::Gone, vec![F::AnswerStopped]),
        E::AskRemove => (S::Gone, vec![F::AnswerRemoved]),
        E::CreateDone
        | E::CreateFailed
        | E::StartDone
        | E::StartFailed
        | E::StartUnknown
        | E::GraceOver
        | E::KillOver
        | E::RecordFailed
        | E::Exited
        | E::ShimSilent
        | E::ShimBack
        | E::ReclaimDone
        | E::ReclaimFailed => (S::Gone, vec![]),
    }
}
