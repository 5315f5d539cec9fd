//! The life of a sandbox as a pure machine: state and event in, state and effects out.
//!
//! Its whole matrix is `docs/lifecycle/sandbox.txt`. Owns: what may follow what. Never: async, IO, a clock, a
//! wildcard arm.

/// Where a sandbox is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// The run procedure runs.
    Creating,
    /// Containers may be made in it.
    Ready,
    /// The stop procedure runs: no new containers.
    Stopping,
    /// Not ready, and what made it ready may still be there in part: a stop has failed, or it was found so.
    Undone,
    /// Its namespaces are gone; it is remembered.
    NotReady,
    /// The reclaim procedure runs.
    Reclaiming,
    /// Nothing of it is left.
    Gone,
}

/// What can happen to a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Event {
    /// The run procedure succeeded.
    RunDone,
    /// The run procedure failed.
    RunFailed,
    /// Somebody wants to know when it is ready.
    AwaitReady,
    /// StopPodSandbox; its containers have been stopped.
    AskStop,
    /// The stop procedure succeeded.
    StopDone,
    /// The stop procedure left something behind.
    StopFailed,
    /// RemovePodSandbox; its containers have been removed.
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
    /// Answer RunPodSandbox: it is ready.
    AnswerReady,
    /// Answer RunPodSandbox: it failed.
    AnswerRunFailed,
    /// Answer RunPodSandbox: it was stopped.
    RefuseReady,
    /// Begin the stop procedure.
    BeginStop,
    /// Answer StopPodSandbox: done.
    AnswerStopped,
    /// Answer StopPodSandbox and RemovePodSandbox: something is left.
    AnswerStopFailed,
    /// Begin the reclaim procedure.
    BeginReclaim,
    /// Answer RemovePodSandbox: it is gone; forget it.
    AnswerRemoved,
    /// Answer RemovePodSandbox: something is left.
    AnswerRemoveFailed,
}

use Effect as F;
use Event as E;
use State as S;

/// One step.
pub fn step(state: State, event: Event) -> (State, Vec<Effect>) {
    match (state, event) {
        (S::Creating, E::RunDone) => (S::Ready, vec![F::AnswerReady]),
        (S::Creating, E::RunFailed) => (S::Reclaiming, vec![F::AnswerRunFailed, F::BeginReclaim]),
        (S::Creating, E::AwaitReady | E::AskStop | E::AskRemove) => (S::Creating, vec![F::Defer]),

        (S::Ready, E::AwaitReady) => (S::Ready, vec![F::AnswerReady]),
        (S::Ready, E::AskStop | E::AskRemove) => (S::Stopping, vec![F::Defer, F::BeginStop]),

        (S::Stopping, E::AwaitReady) => (S::Stopping, vec![F::RefuseReady]),
        (S::Stopping, E::AskStop | E::AskRemove) => (S::Stopping, vec![F::Defer]),
        (S::Stopping, E::StopDone) => (S::NotReady, vec![]),
        (S::Stopping, E::StopFailed) => (S::Undone, vec![F::AnswerStopFailed]),

        (S::Undone, E::AwaitReady) => (S::Undone, vec![F::RefuseReady]),
        (S::Undone, E::AskStop) => (S::Stopping, vec![F::Defer, F::BeginStop]),
        (S::Undone, E::AskRemove) => (S::Reclaiming, vec![F::Defer, F::BeginReclaim]),

        (S::NotReady, E::AwaitReady) => (S::NotReady, vec![F::RefuseReady]),
        (S::NotReady, E::AskStop) => (S::NotReady, vec![F::AnswerStopped]),
        (S::NotReady, E::AskRemove) => (S::Reclaiming, vec![F::Defer, F::BeginReclaim]),

        (S::Reclaiming, E::AwaitReady) => (S::Reclaiming, vec![F::AnswerRunFailed]),
        (S::Reclaiming, E::AskStop) => (S::Reclaiming, vec![F::AnswerStopped]),
        (S::Reclaiming, E::AskRemove) => (S::Reclaiming, vec![F::Defer]),
        (S::Reclaiming, E::ReclaimDone) => (S::Gone, vec![F::AnswerRemoved]),
        (S::Reclaiming, E::ReclaimFailed) => (S::Undone, vec![F::AnswerRemoveFailed]),

        (S::Gone, E::AwaitReady) => (S::Gone, vec![F::AnswerRunFailed]),
        (S::Gone, E::AskStop) => (S::Gone, vec![F::AnswerStopped]),
        (S::Gone, E::AskRemove) => (S::Gone, vec![F::AnswerRemoved]),

        // Ends of procedures that do not run in this state: nothing to do.
        (S::Creating, E::StopDone | E::StopFailed | E::ReclaimDone | E::ReclaimFailed)
        | (
            S::Ready | S::Undone | S::NotReady,
            E::RunDone | E::RunFailed | E::StopDone | E::StopFailed | E::ReclaimDone | E::ReclaimFailed,
        )
        | (S::Stopping, E::RunDone | E::RunFailed | E::ReclaimDone | E::ReclaimFailed)
        | (S::Reclaiming, E::RunDone | E::RunFailed | E::StopDone | E::StopFailed)
        | (
            S::Gone,
            E::RunDone | E::RunFailed | E::StopDone | E::StopFailed | E::ReclaimDone | E::ReclaimFailed,
        ) => (state, vec![]),
    }
}
