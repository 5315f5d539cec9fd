//! The shim around its machine: effects one by one, so that it may die between any two; the runtime's commands, and the
//! container's end.
//!
//! Never: decides what follows from an event.

use super::daemon::Daemon;
use super::world::{Command, End, Init, Late, Node, Steps, World};
use crate::machines::shim::{Effect, Event, State};

/// A shim's process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shim {
    pub state: State,
    /// It has taken up the container, and its lock.
    pub has_container: bool,
    /// What it has to do still, before it listens to anybody.
    pub todo: Vec<Effect>,
    /// The keeper that lives would replace it.
    pub kept: bool,
    /// It is stopped, and answers nobody.
    pub silent: bool,
}

impl Shim {
    pub fn new(state: State) -> Self {
        Self { state, has_container: state != State::Born, todo: Vec::new(), kept: true, silent: false }
    }

    /// It answers calls.
    pub fn answers(&self) -> bool {
        !self.silent && self.todo.is_empty()
    }
}

impl Node {
    /// An event of the shim's machine. Its state is remembered before anything follows from it.
    pub fn feed_shim(&self, mut world: World, event: Event) -> Result<World, String> {
        let Some(shim) = &mut world.shim else { return Ok(world) };
        let (next, effects) = (self.machines.shim)(shim.state, event);
        shim.has_container |= event == Event::Launch;
        shim.state = next;
        shim.todo.extend(effects.into_iter().filter(|effect| *effect != Effect::Refuse));
        Ok(world)
    }

    /// What the shim may do next.
    pub fn shim_steps(&self, world: &World, steps: &mut Steps) {
        let Some(shim) = world.shim.as_ref().filter(|shim| !shim.silent) else { return };
        if let Some(&effect) = shim.todo.first() {
            let mut next = world.clone();
            if let Some(shim) = &mut next.shim {
                shim.todo.remove(0);
            }
            steps.push((effect.step().unwrap_or("a refusal"), self.effect(next, effect)));
            return;
        }
        let is_told = world.daemon.as_ref().is_some_and(Daemon::has_told) && !shim.has_container;
        if is_told && !world.refuses_launch() {
            steps.push(("shim: takes the launch up", self.take_up(world.clone())));
        }
        self.command_steps(world, steps);
        if let Init::Ended(_) = world.init
            && shim.state.has_init()
        {
            steps.push(("shim: sees the container's end", self.feed_shim(world.clone(), Event::InitEnded)));
        }
        if shim.state == State::Draining {
            steps.push(("shim: the output has ended", self.feed_shim(world.clone(), Event::OutputEnded)));
        }
    }

    fn take_up(&self, mut world: World) -> Result<World, String> {
        // It writes that it was there before it does anything.
        world.disk.status = true;
        self.feed_shim(world, Event::Launch)
    }

    /// What a shim may do next whose sender is gone.
    pub fn late_steps(&self, world: &World, steps: &mut Steps) {
        let Some(late) = world.late else { return };
        let mut next = world.clone();
        next.late = None;
        // Without its folder there is no lock to be had.
        let can_lock = !world.is_locked() && world.disk.launched;
        match late {
            Late::Looked if can_lock => {
                next.late = Some(Late::Locked);
                steps.push(("shim: a late one takes the lock", Ok(next)));
            }
            Late::Locked if !self.heeds_senders && world.shim.is_none() => {
                next.shim = Some(Shim::new(State::Born));
                steps.push(("shim: takes a launch up whose sender is gone", self.take_up(next)));
            }
            Late::Looked | Late::Locked => steps.push(("shim: a late one leaves", Ok(next))),
        }
    }

    fn command_steps(&self, world: &World, steps: &mut Steps) {
        let Some(command) = world.command else { return };
        let mut ended = world.clone();
        ended.command = None;
        let mut end = |what, event: Event, change: &dyn Fn(&mut World)| {
            let mut next = ended.clone();
            change(&mut next);
            steps.push((what, self.feed_shim(next, event)));
        };
        match command {
            Command::Create => end("runtime: create has succeeded", Event::CreateDone, &|next| {
                next.init = Init::Waits;
            }),
            Command::Start => end("runtime: start has succeeded", Event::StartDone, &|next| {
                if next.init == Init::Waits {
                    next.init = Init::Runs;
                }
                next.truth.ran = true;
            }),
            Command::Undo => end("runtime: undo has ended", Event::UndoDone, &|_| {}),
        }
        if world.left.failures > 0 && command != Command::Undo {
            let event = if command == Command::Create { Event::CreateFailed } else { Event::StartFailed };
            end("runtime: a command fails", event, &|next| {
                next.left.failures -= 1;
                next.truth.may_be_killed = true;
            });
        }
    }

    fn effect(&self, mut world: World, effect: Effect) -> Result<World, String> {
        match effect {
            Effect::RunCreate => {
                if world.init != Init::None || world.command.is_some() {
                    return Err("create runs a second time".to_owned());
                }
                if world.disk.exit.is_some() {
                    return Err("create runs for a container whose end is recorded".to_owned());
                }
                world.command = Some(Command::Create);
            }
            Effect::RunStart => world.command = Some(Command::Start),
            Effect::RunUndo => {
                world.kill_init()?;
                world.init = Init::None;
                world.command = Some(Command::Undo);
            }
            Effect::KillAll => world.kill_init()?,
            Effect::Record => return self.record(world),
            Effect::Publish => world.disk.status = true,
            Effect::Leave => {
                if world.disk.launched && world.is_locked_by_a_container() && world.disk.exit.is_none() {
                    return Err("a shim leaves, and there is no exit record".to_owned());
                }
                world.shim = None;
                world.held = None;
            }
            Effect::Answer | Effect::KillLeftovers | Effect::Drain | Effect::Refuse => {}
        }
        Ok(world)
    }

    fn record(&self, mut world: World) -> Result<World, String> {
        let (end, true_end) = match world.init {
            // Killed before it was started, on request or since its start failed.
            Init::Ended(End::Killed) if !world.truth.ran => (End::NeverStarted, None),
            Init::Ended(end) => (end, Some(end)),
            Init::None => (End::StartFailed, None),
            Init::Waits | Init::Runs => return Err("an exit is recorded of what runs".to_owned()),
        };
        world.write_exit(end, true_end)?;
        self.feed_shim(world, Event::Recorded)
    }
}

impl World {
    fn is_locked_by_a_container(&self) -> bool {
        self.init != Init::None || self.command.is_some() || self.disk.status
    }
}
