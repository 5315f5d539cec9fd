//! One sandbox on one node, in memory: its owner around the product's machine, its procedures cut anywhere, a daemon that
//! dies, a host that is restarted.
//!
//! Owns: what may happen next to a sandbox, and what must be true of it. Never: its containers; `node` has one.

use std::collections::BTreeSet;

use crate::{
    explore::Model,
    machines::sandbox::{Effect, Event, State},
};

/// A procedure and how many of its steps are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Procedure {
    Run(u8),
    Stop(u8),
    Reclaim(u8),
}

/// What a daemon remembers of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Owner {
    state: State,
    procedure: Option<Procedure>,
    deferred: BTreeSet<Event>,
    waiting: BTreeSet<Event>,
}

/// What is there of it, beside its facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Thing {
    Facts,
    Pins,
    Network,
    ReadyMark,
    StoppedMark,
}

/// How often something may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Left {
    runs: u8,
    stops: u8,
    removes: u8,
    deaths: u8,
    restarts: u8,
    failures: u8,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    things: BTreeSet<Thing>,
    owner: Option<Owner>,
    /// The host was restarted since it was made.
    is_old: bool,
    left: Left,
}

/// The model: the machine is the product's, or a broken one.
#[derive(Debug, Clone, Copy)]
pub struct Pod {
    pub machine: fn(State, Event) -> (State, Vec<Effect>),
}

type Steps = Vec<(&'static str, Result<World, String>)>;

impl Owner {
    fn begin(state: State) -> Self {
        let procedure = match state {
            State::Creating => Some(Procedure::Run(0)),
            State::Stopping => Some(Procedure::Stop(0)),
            State::Reclaiming => Some(Procedure::Reclaim(0)),
            State::Ready | State::Undone | State::NotReady | State::Gone => None,
        };
        Self { state, procedure, deferred: BTreeSet::new(), waiting: BTreeSet::new() }
    }
}

impl Model for Pod {
    type World = World;

    fn begin(&self) -> World {
        let left = Left { runs: 2, stops: 2, removes: 2, deaths: 2, restarts: 1, failures: 2 };
        World { things: BTreeSet::new(), owner: Some(Owner::begin(State::Creating)), is_old: false, left }
    }

    fn next(&self, world: &World) -> Steps {
        let mut steps = Vec::new();
        let Some(owner) = &world.owner else {
            return vec![("daemon: another one starts", Ok(recover(world)))];
        };
        if let Some(procedure) = owner.procedure {
            self.go_on(world, procedure, &mut steps);
        } else if !owner.waiting.is_empty() {
            steps.push(("nothing", Err("a caller waits, and nothing will ever happen".to_owned())));
        }
        self.outside(world, &mut steps);
        steps
    }
}

/// As `pod::recover` judges what it finds.
fn recover(world: &World) -> World {
    let has = |thing| world.things.contains(&thing);
    let state = if !has(Thing::Facts) {
        State::Gone
    } else if !has(Thing::ReadyMark) {
        State::Reclaiming
    } else if has(Thing::StoppedMark) && !world.is_old {
        State::Stopping
    } else if has(Thing::StoppedMark) || world.is_old || !has(Thing::Pins) {
        State::Undone
    } else {
        State::Ready
    };
    World { owner: Some(Owner::begin(state)), ..world.clone() }
}

impl Pod {
    fn go_on(&self, world: &World, procedure: Procedure, steps: &mut Steps) {
        let (what, done, failed, order) = match procedure {
            Procedure::Run(_) => ("daemon: run", Event::RunDone, Event::RunFailed, &RUN[..]),
            Procedure::Stop(_) => ("daemon: stop", Event::StopDone, Event::StopFailed, &STOP[..]),
            Procedure::Reclaim(_) => {
                ("daemon: reclaim", Event::ReclaimDone, Event::ReclaimFailed, &RECLAIM[..])
            }
        };
        let (Procedure::Run(at) | Procedure::Stop(at) | Procedure::Reclaim(at)) = procedure;
        let mut next = world.clone();
        if next.left.failures > 0 {
            let mut next = next.clone();
            next.left.failures -= 1;
            end(&mut next);
            steps.push(("daemon: the procedure fails", self.handle(next, failed)));
        }
        match order.get(usize::from(at)) {
            // Its folder is not there.
            Some((Thing::StoppedMark, true)) if !next.things.contains(&Thing::Facts) => {
                end(&mut next);
                steps.push(("daemon: the mark has no place", self.handle(next, failed)));
                return;
            }
            Some((thing, true)) => drop(next.things.insert(*thing)),
            Some((thing, false)) => drop(next.things.remove(thing)),
            None => {
                end(&mut next);
                steps.push(("daemon: the procedure is done", self.handle(next, done)));
                return;
            }
        }
        if let Some(owner) = &mut next.owner {
            owner.procedure = Some(match procedure {
                Procedure::Run(at) => Procedure::Run(at + 1),
                Procedure::Stop(at) => Procedure::Stop(at + 1),
                Procedure::Reclaim(at) => Procedure::Reclaim(at + 1),
            });
        }
        steps.push((what, Ok(next)));
    }

    fn outside(&self, world: &World, steps: &mut Steps) {
        let mut next = world.clone();
        if next.left.deaths > 0 {
            next.left.deaths -= 1;
            next.owner = None;
            steps.push(("the daemon is killed", Ok(next)));
        }
        let mut next = world.clone();
        if next.left.restarts > 0 && next.things.contains(&Thing::Facts) {
            next.left.restarts -= 1;
            (next.owner, next.is_old) = (None, true);
            next.things.remove(&Thing::Pins);
            steps.push(("the host is restarted", Ok(next)));
        }
        let mut ask = |what, event, left: fn(&mut Left) -> &mut u8| {
            let mut next = world.clone();
            let left = left(&mut next.left);
            if *left > 0 {
                *left -= 1;
                if let Some(owner) = &mut next.owner {
                    owner.waiting.insert(event);
                }
                steps.push((what, self.handle(next, event)));
            }
        };
        ask("caller: RunPodSandbox", Event::AwaitReady, |left| &mut left.runs);
        ask("caller: StopPodSandbox", Event::AskStop, |left| &mut left.stops);
        ask("caller: RemovePodSandbox", Event::AskRemove, |left| &mut left.removes);
    }

    fn handle(&self, mut world: World, event: Event) -> Result<World, String> {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let Some(owner) = &mut world.owner else { break };
            let before = owner.state;
            let (after, effects) = (self.machine)(before, event);
            owner.state = after;
            if effects.iter().any(|e| matches!(e, Effect::AnswerStopFailed | Effect::AnswerRemoveFailed)) {
                owner.deferred.retain(|event| !matches!(event, Event::AskStop | Event::AskRemove));
            }
            if after != before {
                events.extend(std::mem::take(&mut owner.deferred));
            }
            for effect in effects {
                carry_out(owner, &world.things, (effect, event))?;
            }
        }
        Ok(world)
    }
}

/// What each procedure makes (`true`) and takes away, in order.
const RUN: [(Thing, bool); 4] =
    [(Thing::Facts, true), (Thing::Pins, true), (Thing::Network, true), (Thing::ReadyMark, true)];
const STOP: [(Thing, bool); 3] = [(Thing::StoppedMark, true), (Thing::Network, false), (Thing::Pins, false)];
const RECLAIM: [(Thing, bool); 5] = [
    (Thing::ReadyMark, false),
    (Thing::Network, false),
    (Thing::Pins, false),
    (Thing::StoppedMark, false),
    (Thing::Facts, false),
];

fn end(world: &mut World) {
    if let Some(owner) = &mut world.owner {
        owner.procedure = None;
    }
}

fn carry_out(
    owner: &mut Owner,
    things: &BTreeSet<Thing>,
    (effect, event): (Effect, Event),
) -> Result<(), String> {
    let mut begin = |procedure| match owner.procedure.replace(procedure) {
        Some(before) => Err(format!("{procedure:?} begins while {before:?} runs")),
        None => Ok(()),
    };
    match effect {
        Effect::Defer => drop(owner.deferred.insert(event)),
        Effect::BeginStop => begin(Procedure::Stop(0))?,
        Effect::BeginReclaim => begin(Procedure::Reclaim(0))?,
        Effect::AnswerReady => {
            let whole = [Thing::Facts, Thing::Pins, Thing::Network, Thing::ReadyMark];
            if owner.waiting.remove(&Event::AwaitReady) && !whole.iter().all(|thing| things.contains(thing)) {
                return Err(format!("a sandbox is said to be ready, and there is only {things:?}"));
            }
        }
        Effect::AnswerRunFailed | Effect::RefuseReady => drop(owner.waiting.remove(&Event::AwaitReady)),
        Effect::AnswerStopped => {
            // What is on its way out is stopped with it.
            let is_under_way = owner.state == State::Reclaiming;
            let is_connected = things.contains(&Thing::Network) || things.contains(&Thing::Pins);
            if owner.waiting.remove(&Event::AskStop) && is_connected && !is_under_way {
                return Err(format!("a sandbox is said to be stopped, and there is {things:?}"));
            }
        }
        Effect::AnswerRemoved => {
            if owner.waiting.remove(&Event::AskRemove) && !things.is_empty() {
                return Err(format!("a sandbox is said to be gone, and there is {things:?}"));
            }
        }
        Effect::AnswerStopFailed => {
            owner.waiting.remove(&Event::AskStop);
            owner.waiting.remove(&Event::AskRemove);
        }
        Effect::AnswerRemoveFailed => drop(owner.waiting.remove(&Event::AskRemove)),
    }
    Ok(())
}
