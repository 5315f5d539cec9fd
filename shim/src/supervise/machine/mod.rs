//! The life of a container as its shim sees it: a pure machine. Its whole matrix is `docs/lifecycle/shim.txt`.
//!
//! Owns: which event is lawful when, and what must follow. Never: IO, a clock, a process.

use protocol::shim::Phase;

/// Where a container's life is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// No container yet.
    Born,
    /// The runtime's create runs.
    Creating,
    /// Create failed; what it half made is taken back.
    Undoing,
    /// Init waits to be started.
    Created,
    /// The runtime's start runs.
    Starting,
    /// Init has ended while start still runs.
    StartingEnded,
    /// Start failed; init is being killed.
    Failing,
    /// Started.
    Running,
    /// Init has ended; its last output is read.
    Draining,
    /// The exit record is being written.
    Recording,
    /// The exit record is on disk.
    Exited,
    /// The shim leaves.
    Left,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// A call: become a container's supervisor.
    Launch,
    /// Create succeeded and init is our child.
    CreateDone,
    /// Create failed, hung, or made nothing that is our child.
    CreateFailed,
    /// The undo command has ended, whatever it said, and nothing of create lives.
    UndoDone,
    /// A call: start the program.
    Start,
    /// Start succeeded.
    StartDone,
    /// Start failed or hung.
    StartFailed,
    /// Init has ended.
    InitEnded,
    /// Both streams are at their end.
    OutputEnded,
    /// Output had its time.
    DrainOver,
    /// The exit record is on disk.
    Recorded,
    /// A call: leave.
    Dismiss,
    /// The connection that the shim was born with is gone.
    ParentGone,
    /// This shim takes over from one that was killed; a command of the runtime's was begun by it.
    TakenOver,
    /// The same; no command was.
    TakenOverIdle,
}

/// What must be done about it, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Effect {
    /// Take up the container's files and run create.
    RunCreate,
    /// Kill what create left and run the undo command.
    RunUndo,
    /// Run start.
    RunStart,
    /// Tell what the call waits for: it succeeded.
    Answer,
    /// SIGKILL to all of the container's processes.
    KillAll,
    /// SIGKILL to what init left behind, where the container has no PID namespace of its own.
    KillLeftovers,
    /// Read the rest of the output, until its end or for the drain time.
    Drain,
    /// Write the exit record.
    Record,
    /// Write the status record and tell the watchers.
    Publish,
    /// Refuse the call: not now.
    Refuse,
    /// End the process.
    Leave,
}

/// The next state, and what to do on the way.
pub(crate) fn step(state: State, event: Event) -> (State, &'static [Effect]) {
    use Effect::{
        Answer, Drain, KillAll, KillLeftovers, Leave, Publish, Record, Refuse, RunCreate, RunStart, RunUndo,
    };
    use Event as E;
    use State as S;
    const REFUSED: &[Effect] = &[Refuse];
    const NOTHING: &[Effect] = &[];
    match (state, event) {
        (S::Born, E::Launch) => (S::Creating, &[RunCreate, Publish]),
        (S::Born, E::Dismiss | E::ParentGone) => (S::Left, &[Leave]),

        (S::Creating, E::CreateDone) => (S::Created, &[Publish, Answer]),
        (S::Creating, E::CreateFailed) => (S::Undoing, &[RunUndo]),
        (S::Undoing, E::UndoDone) => (S::Recording, &[Record]),

        (S::Created, E::Start) => (S::Starting, &[RunStart, Publish]),
        (S::Starting, E::StartDone) => (S::Running, &[Publish, Answer]),
        (S::Starting, E::StartFailed) => (S::Failing, &[KillAll]),
        (S::Starting, E::InitEnded) => (S::StartingEnded, NOTHING),
        (S::StartingEnded, E::StartDone) => (S::Draining, &[Publish, Answer, KillLeftovers, Drain]),
        (S::StartingEnded, E::StartFailed) => (S::Draining, &[KillAll, Drain]),

        (S::Created | S::Running | S::Failing, E::InitEnded) => {
            (S::Draining, &[Publish, KillLeftovers, Drain])
        }
        (S::Draining, E::OutputEnded | E::DrainOver) => (S::Recording, &[Record]),
        (S::Recording, E::Recorded) => (S::Exited, &[Publish, Answer]),
        (S::Exited, E::Dismiss) => (S::Left, &[Leave]),

        // In the place of a killed shim: what must follow from a state is done, or done again. That a command was
        // begun is known before it runs, and that it ended before its state is left.
        (S::Born | S::Creating, E::TakenOverIdle) => (S::Creating, &[RunCreate, Publish]),
        (S::Starting, E::TakenOverIdle) => (S::Starting, &[RunStart, Publish]),
        (S::StartingEnded, E::TakenOverIdle) | (S::Draining, E::TakenOver | E::TakenOverIdle) => {
            (S::Draining, &[Publish, KillLeftovers, Drain])
        }
        (S::Undoing, E::TakenOver | E::TakenOverIdle) => (S::Undoing, &[RunUndo]),
        (S::Failing, E::TakenOver | E::TakenOverIdle) => (S::Failing, &[KillAll]),
        (S::Recording, E::TakenOver | E::TakenOverIdle) => (S::Recording, &[Record]),
        (S::Creating | S::Starting | S::StartingEnded, E::TakenOver)
        | (S::Created | S::Running | S::Exited, E::TakenOver | E::TakenOverIdle) => (state, &[Publish]),
        (S::Born, E::TakenOver) | (S::Left, E::TakenOver | E::TakenOverIdle) => (state, NOTHING),

        // Calls at the wrong time.
        (S::Creating | S::Undoing | S::Created | S::Starting | S::StartingEnded, E::Launch | E::Dismiss)
        | (S::Failing | S::Running | S::Draining | S::Recording, E::Launch | E::Dismiss)
        | (S::Exited | S::Left, E::Launch)
        | (S::Left, E::Dismiss)
        | (S::Born | S::Creating | S::Undoing | S::Starting | S::StartingEnded | S::Failing, E::Start)
        | (S::Running | S::Draining | S::Recording | S::Exited | S::Left, E::Start) => (state, REFUSED),

        // The daemon may come and go.
        (S::Creating | S::Undoing | S::Created | S::Starting | S::StartingEnded, E::ParentGone)
        | (S::Failing | S::Running | S::Draining | S::Recording, E::ParentGone)
        | (S::Exited | S::Left, E::ParentGone) => (state, NOTHING),

        // A program may close its streams long before it ends, and a deadline may come late.
        (S::Born | S::Creating | S::Undoing | S::Created | S::Starting, E::OutputEnded | E::DrainOver)
        | (S::StartingEnded | S::Failing | S::Running, E::OutputEnded | E::DrainOver)
        | (S::Recording | S::Exited | S::Left, E::OutputEnded | E::DrainOver) => (state, NOTHING),

        // These are told once, by the one thing that runs in that state; anywhere else they are late and say
        // nothing new.
        (
            S::Born | S::Undoing | S::Created | S::Starting | S::StartingEnded | S::Failing | S::Running,
            E::CreateDone | E::CreateFailed,
        )
        | (S::Draining | S::Recording | S::Exited | S::Left, E::CreateDone | E::CreateFailed)
        | (S::Born | S::Creating | S::Created | S::Starting | S::StartingEnded, E::UndoDone)
        | (S::Failing | S::Running | S::Draining | S::Recording | S::Exited | S::Left, E::UndoDone)
        | (S::Born | S::Creating | S::Undoing | S::Created, E::StartDone | E::StartFailed)
        | (S::Failing | S::Running | S::Draining, E::StartDone | E::StartFailed)
        | (S::Recording | S::Exited | S::Left, E::StartDone | E::StartFailed)
        | (S::Born | S::Creating | S::Undoing | S::StartingEnded, E::InitEnded)
        | (S::Draining | S::Recording | S::Exited | S::Left, E::InitEnded)
        | (S::Born | S::Creating | S::Undoing | S::Created | S::Starting, E::Recorded)
        | (S::StartingEnded | S::Failing | S::Running | S::Draining, E::Recorded)
        | (S::Exited | S::Left, E::Recorded) => (state, NOTHING),
    }
}

impl Effect {
    /// Its name as a step, where a test may kill the shim. One that fails does so on its way, at a step of its own. A
    /// refusal is no step: it does nothing.
    pub(crate) fn step(self) -> Option<&'static str> {
        Some(match self {
            Self::RunCreate => "supervise.create",
            Self::RunUndo => "supervise.undo",
            Self::RunStart => "supervise.start",
            Self::Answer => "supervise.answer",
            Self::KillAll => "supervise.kill_all",
            Self::KillLeftovers => "supervise.kill_leftovers",
            Self::Drain => "supervise.drain",
            Self::Record => "supervise.record",
            Self::Publish => "supervise.publish",
            Self::Refuse => return None,
            Self::Leave => "supervise.leave",
        })
    }
}

impl State {
    /// All, by the number that a successor finds.
    pub(crate) const ALL: [Self; 12] = [
        Self::Born,
        Self::Creating,
        Self::Undoing,
        Self::Created,
        Self::Starting,
        Self::StartingEnded,
        Self::Failing,
        Self::Running,
        Self::Draining,
        Self::Recording,
        Self::Exited,
        Self::Left,
    ];

    /// Its number in [`State::ALL`].
    pub(crate) fn number(self) -> u32 {
        Self::ALL.iter().zip(0..).find(|(state, _)| **state == self).map_or(0, |(_, number)| number)
    }

    /// What the wire calls it.
    pub(crate) fn phase(self) -> Phase {
        match self {
            Self::Born => Phase::BORN,
            Self::Creating | Self::Undoing => Phase::CREATING,
            Self::Created => Phase::CREATED,
            Self::Starting | Self::StartingEnded | Self::Failing => Phase::STARTING,
            Self::Running => Phase::RUNNING,
            Self::Draining | Self::Recording => Phase::DRAINING,
            Self::Exited | Self::Left => Phase::EXITED,
        }
    }

    /// Whether a command may be run in the container: later, its exit could not come before init's.
    pub(crate) fn may_exec(self) -> bool {
        self == Self::Running
    }

    /// Whether there is an init process that has not been seen to end.
    pub(crate) fn has_init(self) -> bool {
        matches!(self, Self::Created | Self::Starting | Self::Failing | Self::Running)
    }

    /// Whether the container's streams may still be used.
    pub(crate) fn has_streams(self) -> bool {
        self.has_init() || self == Self::StartingEnded
    }
}

#[cfg(test)]
mod tests;
