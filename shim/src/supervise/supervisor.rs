//! The heart: feeds the machine what happens and does what it says.
//!
//! Owns: everything a container's life needs. Never: decides what is lawful when; that is the machine's. Waits.

use std::{collections::VecDeque, fs::File, os::fd::OwnedFd, time::Instant};

use protocol::{keeper::Kind, shim};

use super::{
    clock,
    command::Running,
    container::{Container, Step},
    control::{Control, Encode, Refusal, Ticket},
    event_loop,
    execs::{Execs, Surroundings},
    facts::{Facts, failure},
    journal::Journal,
    kept::Kept,
    kill,
    launch::Launch,
    machine::{Effect, Event, State, step},
    memo,
    oom::Oom,
    poll::Poll,
    pump::Pump,
    reaper::Reaper,
    stage::Console,
    stdin::Stdin,
    wards::Wards,
    words::Words,
};
use crate::{
    fault::Fault,
    limits::{KILL_AGAIN, RECORD_RETRY},
    sys::{birth::Inherited, pidfd::Ended, process::Child},
};

/// SIGKILL.
const KILLED: u8 = 9;

/// A shim's whole world.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(super) poll: Poll,
    pub(super) control: Control,
    pub(super) pump: Pump,
    pub(super) reaper: Reaper,
    pub(super) execs: Execs,
    pub(super) oom: Oom,
    pub(super) stdin: Stdin,
    pub(super) words: Words,
    pub(super) console: Option<Console>,
    pub(super) terminal: Option<OwnedFd>,
    pub(super) init: Option<Child>,
    pub(super) state: State,
    pub(super) facts: Facts,
    pub(super) container: Option<Container>,
    pub(super) null: File,
    pub(super) inherited: Inherited,
    pub(super) kept: Kept,
    pub(super) wards: Wards,
    /// When the keeper saw init end.
    pub(super) ended_at: Option<i64>,
    /// The keeper holds stdin's writing end.
    pub(super) has_held_stdin: bool,
    /// The keeper holds the terminal.
    pub(super) has_held_terminal: bool,
    /// The runtime's command that runs, and which one.
    pub(super) command: Option<(Step, Running)>,
    /// Who waits for Launch or Start.
    caller: Option<(Ticket, Step)>,
    /// What happened and was not fed to the machine yet.
    pub(super) happened: VecDeque<Event>,
    pub(super) times: Times,
}

/// Deadlines of the life itself.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// Output had its time.
    drained: Option<Instant>,
    /// Kill leftovers again.
    kill_again: Option<Instant>,
    /// What create left had its time to die.
    pub(super) undone: Option<Instant>,
    /// Try the exit record again.
    record: Option<Instant>,
}

impl Supervisor {
    /// A shim that was just born.
    pub(crate) fn new(
        poll: Poll,
        control: Control,
        (null, inherited): (File, Inherited),
        kept: Kept,
        journal: Journal,
    ) -> Result<Self, Fault> {
        kept.watch(&poll)?;
        Ok(Self {
            poll,
            control,
            pump: Pump::new(journal)?,
            reaper: Reaper::default(),
            execs: Execs::default(),
            oom: Oom::default(),
            stdin: Stdin::default(),
            words: Words::default(),
            console: None,
            terminal: None,
            init: None,
            state: State::Born,
            facts: Facts::new(),
            container: None,
            null,
            inherited,
            kept,
            wards: Wards::default(),
            ended_at: None,
            has_held_stdin: false,
            has_held_terminal: false,
            command: None,
            caller: None,
            happened: VecDeque::new(),
            times: Times::default(),
        })
    }

    /// Feeds the machine an event, and all that follow from it.
    pub(crate) fn happen(&mut self, event: Event) {
        self.happened.push_back(event);
        while let Some(event) = self.happened.pop_front() {
            let (next, effects) = step(self.state, event);
            let has_changed = next != self.state;
            self.state = next;
            if has_changed {
                // Before anything follows from it: a successor does what follows again.
                self.remember();
            }
            for &effect in effects {
                self.apply(effect);
            }
        }
    }

    /// Whether a call would be refused now.
    pub(crate) fn refuses(&self, event: Event) -> bool {
        step(self.state, event).1 == [Effect::Refuse]
    }

    /// Takes up a container: from now on this shim is its supervisor. Refused where another shim is, and
    /// where the caller is gone.
    pub(crate) fn take_up(&mut self, launch: Launch, order: &[u8], caller: Ticket) -> Result<(), Refusal> {
        self.pump.journal().remember_order(order).map_err(|fault| Refusal::failed(&fault))?;
        let container = Container::take(launch).map_err(|fault| Refusal::not_now(fault.to_string()))?;
        crate::steps::reach("supervise.locked");
        // Once more, now that whoever looks finds the lock held.
        if self.control.has_hung_up(caller) || container.has_ended() {
            container.let_go();
            return Err(Refusal::gone());
        }
        let listening = self.control.listen(&self.poll, &container.launch.run_dir);
        listening.map_err(|fault| Refusal::failed(&fault))?;
        self.container = Some(container);
        self.remember();
        self.hold_container();
        self.caller = Some((caller, Step::Create));
        self.happen(Event::Launch);
        Ok(())
    }

    /// Starts the container.
    pub(crate) fn start(&mut self, caller: Ticket) {
        self.caller = Some((caller, Step::Start));
        self.happen(Event::Start);
    }

    /// SIGKILL to every process of the container.
    pub(crate) fn kill_all(&mut self) {
        if let Some(init) = &self.init {
            init.process.kill();
        }
        if let Some(container) = &self.container {
            kill::kill_all(&container.launch.groups);
        }
    }

    /// The state as it goes over the wire.
    pub(crate) fn wire_state(&self) -> shim::State {
        self.facts.state(self.state, self.oom.kills(), self.pump.lost())
    }

    /// Tells the watchers that something changed.
    pub(crate) fn publish(&mut self) {
        self.facts.sequence += 1;
        let state = self.wire_state();
        self.control.publish(&self.poll, &state);
    }

    /// Answers a call.
    pub(crate) fn answer(&mut self, ticket: Ticket, answer: Result<&dyn Encode, Refusal>) {
        self.control.answer(&self.poll, ticket, answer);
    }

    /// What an exec needs, beside the execs themselves.
    pub(crate) fn with_execs<T>(
        &mut self,
        work: impl FnOnce(&mut Execs, &Container, &mut Surroundings<'_>) -> T,
    ) -> Option<T> {
        let known = self.known();
        let container = self.container.as_ref()?;
        let (journal, state, facts, kills) = (self.pump.journal(), self.state, &self.facts, self.oom.kills());
        let mut around = Surroundings {
            poll: &self.poll,
            reaper: &mut self.reaper,
            run_dir: &container.launch.run_dir,
            known: &known,
            kept: &mut self.kept,
            remember: &|execs| memo::remember(journal, state, facts, kills, execs),
            wards: &mut self.wards,
        };
        Some(work(&mut self.execs, container, &mut around))
    }

    /// The init process may have ended.
    pub(crate) fn init_ready(&mut self) {
        // Before create is judged it is nobody's yet, and looked at again then.
        let Some(init) = self.init.as_ref().filter(|_| self.state != State::Creating) else { return };
        let Ok(Some(ended)) = init.process.peek() else { return };
        self.poll.forget(&init.process);
        let Some(init) = self.init.take() else { return };
        if ended == Ended::Signal(KILLED) {
            self.oom.init_was_killed();
        }
        // A killed shim may have written down more than the kernel knows now.
        let at = self.ended_at.unwrap_or_else(clock::now);
        self.facts.ended.get_or_insert((ended, at));
        self.facts.never_started &= self.state == State::Created;
        self.happen(Event::InitEnded);
        // Not before: until this is written down, the end must be there for a successor to see.
        init.process.reap().ok();
        self.kept.release(Kind::INIT, 0);
        crate::steps::reach("supervise.reaped");
    }

    /// After each turn: what follows from what is gone.
    pub(crate) fn settle(&mut self) {
        if self.state == State::Undoing && self.command.is_none() {
            self.kill_strangers();
        }
        if self.reaper.is_pending() {
            let known = self.known();
            self.reaper.sweep(|pid| known.contains(&pid));
        }
        let is_over = self.times.undone.is_none_or(|at| at <= Instant::now());
        if self.state == State::Undoing && is_over {
            // One that does not even end at SIGKILL is in the kernel, and nobody waits for that.
            self.let_command_go();
        }
        let is_undoing = self.state == State::Undoing && self.command.is_none();
        if is_undoing && (is_over || self.strangers().is_empty()) {
            self.times.undone = None;
            self.happen(Event::UndoDone);
        }
        if self.state == State::Draining && self.pump.has_ended() {
            self.happen(Event::OutputEnded);
        }
        if self.control.lost_parent() {
            self.happen(Event::ParentGone);
        }
        self.release_streams();
    }

    /// Does what is due.
    pub(crate) fn on_time(&mut self, now: Instant) {
        self.pump.on_time(now);
        self.control.on_time(&self.poll, now);
        if self.oom.on_time(now) {
            self.publish();
        }
        if let Some((_, running)) = &mut self.command {
            running.on_time(now);
        }
        self.with_execs(|execs, _, around| execs.on_time(now, around));
        let is_due = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        if is_due(&mut self.times.kill_again) {
            self.kill_leftovers(now);
        }
        if is_due(&mut self.times.drained) {
            self.happen(Event::DrainOver);
        }
        for source in self.wards.on_time(now) {
            event_loop::handle_end(self, source);
        }
        if is_due(&mut self.times.record) {
            self.record();
            self.happen_pending();
        }
    }

    /// When time alone will make something due.
    pub(crate) fn due(&self) -> Option<Instant> {
        let times = [self.times.drained, self.times.kill_again, self.times.undone, self.times.record];
        let command = self.command.as_ref().and_then(|(_, running)| running.due());
        let others =
            [self.pump.due(), self.oom.due(), self.execs.due(), self.wards.due(), self.control.due()];
        times.into_iter().chain(others).chain([command]).flatten().min()
    }

    fn happen_pending(&mut self) {
        if let Some(event) = self.happened.pop_front() {
            self.happen(event);
        }
    }

    fn apply(&mut self, effect: Effect) {
        if let Some(step) = effect.step() {
            crate::steps::reach(step);
        }
        match effect {
            Effect::RunCreate => {
                if let Err(fault) = self.run_create() {
                    self.facts.fail("create", &fault.to_string(), false);
                    self.happened.push_back(Event::CreateFailed);
                }
            }
            Effect::RunUndo => self.run_undo(),
            Effect::RunStart => {
                if let Err(fault) = self.run_speaking(Step::Start) {
                    self.facts.fail("start", &fault.to_string(), false);
                    self.happened.push_back(Event::StartFailed);
                }
            }
            Effect::Answer => self.answer_caller(),
            Effect::KillAll => self.kill_all(),
            Effect::KillLeftovers => self.kill_leftovers(Instant::now()),
            Effect::Drain => self.drain(),
            Effect::Record => self.record(),
            Effect::Publish => {
                self.publish();
                if let Some(container) = &self.container {
                    // A failure is mended by the next.
                    drop(container.write_status(&self.facts));
                }
            }
            // The caller asks before and answers itself.
            Effect::Refuse => {}
            Effect::Leave => self.leave(),
        }
    }

    pub(super) fn kill_leftovers(&mut self, now: Instant) {
        let Some(Container { launch, .. }) = &self.container else { return };
        let is_wanted = launch.kill_leftovers && self.state == State::Draining;
        if is_wanted && kill::kill_all(&launch.groups) {
            self.times.kill_again = Some(now + KILL_AGAIN);
        }
    }

    fn drain(&mut self) {
        self.stdin.close(&self.poll);
        self.terminal = None;
        let Some(Container { launch, .. }) = &self.container else { return };
        self.times.drained = Some(Instant::now() + launch.drain);
        self.pump.ready_all();
        if self.pump.has_ended() {
            self.happened.push_back(Event::OutputEnded);
        }
    }

    fn record(&mut self) {
        let Some(container) = &self.container else { return };
        self.times.drained = None;
        self.times.kill_again = None;
        self.pump.finish();
        self.oom.look();
        match container.write_exit(&self.facts, self.oom.kills(), clock::now()) {
            Ok(record) => {
                self.facts.exit_record = record;
                self.kept.done();
                self.happened.push_back(Event::Recorded);
            }
            // Nobody is told of an end that is not on disk.
            Err(_) => self.times.record = Some(Instant::now() + RECORD_RETRY),
        }
    }

    fn answer_caller(&mut self) {
        let Some((ticket, step)) = self.caller.take() else { return };
        let failed = (self.state == State::Exited).then(|| {
            self.facts.failure.clone().unwrap_or_else(|| failure("create", "the container has ended", false))
        });
        if step == Step::Create {
            let answer = shim::LaunchResponse {
                failure: failed.into(),
                init_pid: self.facts.init_pid,
                created_at: self.facts.created_at,
                ..shim::LaunchResponse::default()
            };
            self.answer(ticket, Ok(&answer));
        } else {
            let answer = shim::StartResponse {
                failure: failed.into(),
                started_at: self.facts.started_at,
                ..shim::StartResponse::default()
            };
            self.answer(ticket, Ok(&answer));
        }
    }

    fn leave(&mut self) {
        self.execs.kill_all();
        if let Some(container) = &self.container {
            container.remove_socket();
        }
    }

    /// Writes down what a successor must know.
    pub(super) fn remember(&self) {
        memo::remember(self.pump.journal(), self.state, &self.facts, self.oom.kills(), &self.execs);
    }

    /// Numbers of all processes that are waited for.
    pub(super) fn known(&self) -> Vec<i32> {
        let command = self.command.as_ref().map(|(_, running)| running.pid());
        let init = self.init.as_ref().map(|init| init.pid);
        self.execs.pids().chain(command).chain(init).collect()
    }
}
