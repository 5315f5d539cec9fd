//! The daemon: the owner of the container around its machine, and what it finds when it starts.
//!
//! Owns: who waits for what. Never: decides what may follow what; that is the machine's.

use std::collections::BTreeSet;

use super::{
    procedures::Procedure,
    world::{End, Made, Node, Steps, World},
};
use crate::machines::{
    container::{Effect, Event, State},
    shim as machine,
};

/// What a daemon remembers of the container.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Daemon {
    pub state: State,
    pub procedures: Vec<Procedure>,
    deferred: BTreeSet<Event>,
    /// Those who wait for a start, a stop, a removal.
    waiting: BTreeSet<Event>,
    /// It follows the shim; `true`: it has not heard of it.
    pub watch: Option<bool>,
    /// It has a way to talk to the shim.
    pub link: bool,
    /// How the container ended, as it knows.
    pub exit: Option<End>,
    killing: bool,
    grace: bool,
}

impl Daemon {
    fn in_state(state: State) -> Self {
        Self {
            state,
            procedures: Vec::new(),
            deferred: BTreeSet::new(),
            waiting: BTreeSet::new(),
            watch: None,
            link: false,
            exit: None,
            killing: false,
            grace: false,
        }
    }

    /// One that was asked for a container.
    pub fn with_new_container() -> Self {
        Self { procedures: vec![Procedure::Create(0)], ..Self::in_state(State::Creating) }
    }

    /// Somebody asks.
    pub fn is_asked(&mut self, event: Event) {
        self.waiting.insert(event);
    }

    /// Somebody waits for an answer.
    pub fn has_callers(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A shim was told to launch the container.
    pub fn has_told(&self) -> bool {
        self.procedures.iter().any(|procedure| matches!(procedure, Procedure::Told(_)))
    }

    /// A start is under way.
    fn starts(&self) -> bool {
        self.procedures.iter().any(|procedure| procedure.is_of_start())
    }

    /// A kill procedure came to nothing.
    pub fn kill_ended(&mut self) {
        self.killing = false;
    }
}

impl Node {
    /// An event of the container's machine, and all that follow from it, as its owner does it.
    pub fn handle(&self, mut world: World, event: Event) -> Result<World, String> {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let Some(daemon) = &mut world.daemon else { return Ok(world) };
            let before = daemon.state;
            let (after, effects) = (self.machines.container)(before, event);
            daemon.state = after;
            if effects.iter().any(|e| matches!(e, Effect::AnswerStopFailed | Effect::AnswerRemoveFailed)) {
                daemon.deferred.retain(|event| !matches!(event, Event::AskStop | Event::AskRemove));
            }
            if after != before {
                events.extend(std::mem::take(&mut daemon.deferred));
            }
            for effect in effects {
                carry_out(&mut world, effect, event)?;
            }
        }
        Ok(world)
    }

    /// The container has ended, and the daemon hears how.
    pub fn hear_exit(&self, mut world: World, end: End) -> Result<World, String> {
        if let Some(daemon) = &mut world.daemon {
            if daemon.exit.is_some_and(|before| before != end) {
                return Err(format!("an end that was told as {:?} is told as {end:?}", daemon.exit));
            }
            daemon.exit = Some(end);
            (daemon.link, daemon.grace) = (false, false);
        }
        self.handle(world, Event::Exited)
    }

    /// Time passes, or it starts.
    pub fn daemon_steps(&self, world: &World, steps: &mut Steps) {
        match &world.daemon {
            None => self.recover(world, steps),
            Some(daemon) if daemon.grace && daemon.exit.is_none() => {
                let mut next = world.clone();
                if let Some(daemon) = &mut next.daemon {
                    daemon.grace = false;
                }
                steps.push(("daemon: the grace is over", self.handle(next, Event::GraceOver)));
            }
            Some(_) => {}
        }
    }

    /// As `pod::recover` looks at what a former daemon left.
    fn recover(&self, world: &World, steps: &mut Steps) {
        let what = "daemon: another one starts";
        let mut next = world.clone();
        let disk = world.disk;
        let found = |state: State| Some(Daemon::in_state(state));
        if disk.made == Made::Nothing {
            next.daemon = found(State::Gone);
        } else if disk.made == Made::Facts {
            next.daemon = Some(Daemon {
                procedures: vec![Procedure::Reclaim(0)],
                ..Daemon::in_state(State::Reclaiming)
            });
        } else if let (Some(end), false) = (disk.exit, disk.launched) {
            next.daemon = Some(Daemon { exit: Some(end), ..Daemon::in_state(State::Exited) });
        } else if !disk.launched {
            next.daemon = found(State::Created);
        } else if let Some(shim) = world.shim.as_ref().filter(|shim| shim.has_container) {
            return self.find_shim(next, (what, shim.answers(), shim.silent, shim.state), steps);
        } else if let Some(end) = disk.exit {
            next.daemon = Some(Daemon { exit: Some(end), ..Daemon::in_state(State::Exited) });
        } else if world.is_locked() {
            next.daemon = Some(Daemon { watch: Some(true), ..Daemon::in_state(State::Unknown) });
        } else if !disk.status {
            next.daemon = found(State::Created);
        } else {
            next.daemon = found(State::Unknown);
            let lost = next.record_lost(self.ends_commands).map(|end| {
                next.daemon = Some(Daemon { exit: Some(end), ..Daemon::in_state(State::Exited) });
                next
            });
            steps.push((what, lost));
            return;
        }
        steps.push((what, Ok(next)));
    }

    fn find_shim(
        &self,
        mut next: World,
        (what, answers, silent, state): (&'static str, bool, bool, machine::State),
        steps: &mut Steps,
    ) {
        use machine::State as S;
        if silent {
            let found = match next.disk.exit {
                Some(end) => Daemon { exit: Some(end), ..Daemon::in_state(State::Exited) },
                None => Daemon { watch: Some(true), ..Daemon::in_state(State::Unknown) },
            };
            next.daemon = Some(found);
            steps.push((what, Ok(next)));
        } else if answers {
            let link = true;
            match state {
                S::Exited => {
                    let exit = next.disk.exit;
                    next.daemon = Some(Daemon { exit, ..Daemon::in_state(State::Exited) });
                    steps.push((what, self.feed_shim(next, machine::Event::Dismiss)));
                }
                S::Running | S::Draining | S::Recording => {
                    next.daemon =
                        Some(Daemon { link, watch: Some(false), ..Daemon::in_state(State::Running) });
                    steps.push((what, Ok(next)));
                }
                _ => {
                    let procedures = vec![Procedure::Await];
                    next.daemon = Some(Daemon { link, procedures, ..Daemon::in_state(State::Starting) });
                    steps.push((what, Ok(next)));
                }
            }
        }
    }
}

fn carry_out(world: &mut World, effect: Effect, event: Event) -> Result<(), String> {
    let (ran, runs) = (world.truth.ran, world.runs());
    let is_gone = world.is_gone();
    let Some(daemon) = &mut world.daemon else { return Ok(()) };
    match effect {
        Effect::Defer => drop(daemon.deferred.insert(event)),
        Effect::BeginStart => daemon.procedures.push(Procedure::Launch(0)),
        Effect::AnswerStarted => {
            daemon.waiting.remove(&Event::AskStart);
            if !ran {
                return Err("a start is answered, and the program never ran".to_owned());
            }
        }
        Effect::AnswerStartFailed | Effect::RefuseStart => drop(daemon.waiting.remove(&Event::AskStart)),
        Effect::SendStopSignal | Effect::ShortenGrace => daemon.grace = true,
        Effect::Kill => {
            if !std::mem::replace(&mut daemon.killing, true) {
                daemon.procedures.push(Procedure::Kill(0));
            }
        }
        Effect::RecordNeverStarted => daemon.procedures.push(Procedure::NeverStarted),
        Effect::AnswerStopped => {
            let was_waited_for = daemon.waiting.remove(&Event::AskStop);
            if was_waited_for && (runs || daemon.starts()) {
                return Err("a stop is answered, and something of the container runs, or will".to_owned());
            }
        }
        Effect::AnswerStopFailed => {
            daemon.killing = false;
            daemon.waiting.remove(&Event::AskStop);
            daemon.waiting.remove(&Event::AskRemove);
        }
        Effect::BeginReclaim => daemon.procedures.push(Procedure::Reclaim(0)),
        Effect::AnswerRemoved => {
            daemon.waiting.remove(&Event::AskRemove);
            if !is_gone {
                return Err("a removal is answered, and something is left".to_owned());
            }
        }
        Effect::AnswerRemoveFailed => drop(daemon.waiting.remove(&Event::AskRemove)),
        // Limits change nothing of a life, and who creates is not followed here.
        Effect::AnswerCreated | Effect::AnswerCreateFailed | Effect::BeginUpdate | Effect::RefuseUpdate => {}
    }
    Ok(())
}
