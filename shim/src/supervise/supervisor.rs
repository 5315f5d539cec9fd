//! The heart: feeds the machine what happens and does what it says.
//!
//! Owns: everything a container's life needs. Never: decides what is lawful when; that is the machine's. Waits.

use std::{collections::VecDeque, fs::File, os::fd::OwnedFd, time::Instant};

use logs::FileSink;
use protocol::shim;

use super::{
    adopt::adopt,
    clock,
    command::{Running, Verdict},
    container::{Container, Step},
    control::{Control, Encode, Refusal, Ticket},
    execs::{Execs, Surroundings},
    facts::{Facts, failure},
    kill,
    launch::Launch,
    machine::{Effect, Event, State, step},
    oom::Oom,
    poll::{Poll, Source},
    pump::Pump,
    reaper::Reaper,
    stage::{Console, Stage, borrow, speaking},
    stdin::Stdin,
    tree,
    words::Words,
};
use crate::{
    fault::{Because, Fault},
    limits::{KILL_AGAIN, KILL_GRACE, RECORD_RETRY},
    sys::{birth::Inherited, pidfd::PidFd, process::Child},
};

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
    /// The runtime's command that runs, and which one.
    command: Option<(Step, Running)>,
    /// Who waits for Launch or Start.
    caller: Option<(Ticket, Step)>,
    /// What happened and was not fed to the machine yet.
    happened: VecDeque<Event>,
    times: Times,
}

/// Deadlines of the life itself.
#[derive(Debug, Default)]
struct Times {
    /// Output had its time.
    drained: Option<Instant>,
    /// Kill leftovers again.
    kill_again: Option<Instant>,
    /// What create left had its time to die.
    undone: Option<Instant>,
    /// Try the exit record again.
    record: Option<Instant>,
}

impl Supervisor {
    /// A shim that was just born.
    pub(crate) fn new(poll: Poll, control: Control, null: File, inherited: Inherited) -> Result<Self, Fault> {
        Ok(Self {
            poll,
            control,
            pump: Pump::new()?,
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
            self.state = next;
            for &effect in effects {
                self.apply(effect);
            }
        }
    }

    /// Whether a call would be refused now.
    pub(crate) fn refuses(&self, event: Event) -> bool {
        step(self.state, event).1 == [Effect::Refuse]
    }

    /// Takes up a container: from now on this shim is its supervisor. Refused where another shim is.
    pub(crate) fn take_up(&mut self, launch: Launch, caller: Ticket) -> Result<(), Refusal> {
        let container = Container::take(launch).map_err(|fault| Refusal::not_now(fault.to_string()))?;
        let listening = self.control.listen(&self.poll, &container.launch.run_dir);
        listening.map_err(|fault| Refusal::failed(&fault))?;
        self.container = Some(container);
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
        let mut around = Surroundings {
            poll: &self.poll,
            reaper: &mut self.reaper,
            run_dir: &container.launch.run_dir,
            known: &known,
        };
        Some(work(&mut self.execs, container, &mut around))
    }

    /// One of the runtime's commands may have ended.
    pub(crate) fn command_ready(&mut self) {
        let Some(verdict) = self.command.as_ref().and_then(|(_, running)| running.reap()) else { return };
        let Some((step, running)) = self.command.take() else { return };
        self.poll.forget(running.process());
        let pipes = self.words.stop(&self.poll);
        let event = match step {
            Step::Create => match self.judge_create(verdict, pipes) {
                Ok(()) => Event::CreateDone,
                Err(fault) => {
                    self.facts.fail("create", &fault.to_string(), verdict == Verdict::TimedOut);
                    Event::CreateFailed
                }
            },
            Step::Start if verdict == Verdict::Success => {
                // A program may have ended before the command that started it.
                let now = clock::now();
                self.facts.started_at = self.facts.ended.map_or(now, |(_, at)| at.min(now));
                Event::StartDone
            }
            Step::Start => {
                let said = self.why(Step::Start, verdict);
                self.facts.fail("start", &said, verdict == Verdict::TimedOut);
                Event::StartFailed
            }
            Step::Undo => return self.reaper.end(running.flight()),
        };
        self.reaper.end(running.flight());
        drop(running);
        self.happen(event);
    }

    /// The init process may have ended.
    pub(crate) fn init_ready(&mut self) {
        let Some(init) = &self.init else { return };
        let Ok(Some(ended)) = init.process.reap() else { return };
        self.poll.forget(&init.process);
        self.init = None;
        crate::steps::reach("supervise.reaped");
        self.facts.ended = Some((ended, clock::now()));
        self.facts.never_started &= self.state == State::Created;
        self.happen(Event::InitEnded);
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
        if self.state == State::Undoing && self.command.is_none() {
            let is_over = self.times.undone.is_none_or(|at| at <= Instant::now());
            if is_over || self.strangers().is_empty() {
                self.times.undone = None;
                self.happen(Event::UndoDone);
            }
        }
        if self.state == State::Draining && self.pump.has_ended() {
            self.happen(Event::OutputEnded);
        }
        if self.control.lost_parent() {
            self.happen(Event::ParentGone);
        }
    }

    /// Does what is due.
    pub(crate) fn on_time(&mut self, now: Instant) {
        self.pump.on_time(now);
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
        if is_due(&mut self.times.record) {
            self.record();
            self.happen_pending();
        }
    }

    /// When time alone will make something due.
    pub(crate) fn due(&self) -> Option<Instant> {
        let times = [self.times.drained, self.times.kill_again, self.times.undone, self.times.record];
        let command = self.command.as_ref().and_then(|(_, running)| running.due());
        let others = [self.pump.due(), self.oom.due(), self.execs.due(), command];
        times.into_iter().chain(others).flatten().min()
    }

    fn happen_pending(&mut self) {
        if let Some(event) = self.happened.pop_front() {
            self.happen(event);
        }
    }

    fn apply(&mut self, effect: Effect) {
        crate::steps::reach(effect.step());
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
                    container.write_status(&self.facts);
                }
            }
            // The caller asks before and answers itself.
            Effect::Refuse => {}
            Effect::Leave => self.leave(),
        }
    }

    fn run_create(&mut self) -> Result<(), Fault> {
        let Some(container) = &self.container else { return Ok(()) };
        let launch = &container.launch;
        if let Some(log) = &launch.log {
            crate::steps::check("supervise.log")?;
            let sink = FileSink::open(log).map_err(|error| Fault::new(super::pump::chain(&error)))?;
            self.pump.log_to(sink);
        }
        container.forget_notes();
        let stage = Stage::set(launch.streams, &launch.run_dir, &self.null)?;
        for (number, output) in (0..).zip(&stage.outputs) {
            if let Some(output) = output {
                self.poll.read(output, Source::Words(number))?;
            }
        }
        if let Some(console) = &stage.console {
            console.watch(&self.poll)?;
        }
        self.words = Words::listen(stage.outputs);
        self.console = stage.console;
        if let Some(stdin) = stage.stdin {
            self.stdin = Stdin::open(stdin, launch.stdin_once);
        }
        let running = Running::start(&launch.create, borrow(&stage.given), self.inherited, &mut self.reaper)?;
        let watched = self.poll.read(running.process(), Source::Command);
        self.command = Some((Step::Create, running));
        watched
    }

    /// Runs start or undo, which only speak.
    fn run_speaking(&mut self, step: Step) -> Result<(), Fault> {
        let Some(line) = self.container.as_ref().and_then(|container| container.line(step)) else {
            return Ok(());
        };
        let (out, given) = speaking(&self.null)?;
        self.poll.read(&out, Source::Words(0))?;
        self.words = Words::listen([Some(out), None]);
        let running = Running::start(line, borrow(&given), self.inherited, &mut self.reaper)?;
        let watched = self.poll.read(running.process(), Source::Command);
        self.command = Some((step, running));
        watched
    }

    /// Create has ended: is there an init process that is ours?
    fn judge_create(&mut self, verdict: Verdict, pipes: [Option<File>; 2]) -> Result<(), Fault> {
        if verdict != Verdict::Success {
            return Err(Fault::new(self.why(Step::Create, verdict)));
        }
        let known = self.known();
        let Some(Container { launch, .. }) = &self.container else { return Ok(()) };
        let init = adopt(&launch.run_dir.pid_file(), |pid| known.contains(&pid))?;
        if let Some(console) = self.console.take() {
            let master = console.take(&self.poll)?;
            let again = || master.try_clone().because(|| "no descriptor is left".into());
            self.pump.attach(&self.poll, 0, again()?)?;
            self.stdin = Stdin::open(again()?, launch.stdin_once);
            drop(std::fs::remove_file(launch.run_dir.console_socket()));
            self.terminal = Some(master);
        } else {
            for (number, pipe) in (0..).zip(pipes) {
                if let Some(pipe) = pipe {
                    self.pump.attach(&self.poll, number, pipe.into())?;
                }
            }
        }
        self.oom = Oom::watch(&launch.groups, &self.poll);
        self.poll.read(&init.process, Source::Init)?;
        self.reaper.claim(init.pid);
        self.facts.init_pid = init.pid;
        self.facts.created_at = clock::now();
        self.init = Some(init);
        Ok(())
    }

    fn run_undo(&mut self) {
        self.console = None;
        self.stdin.close(&self.poll);
        // Create itself, where it was started and could not be watched.
        if let Some((_, running)) = self.command.take() {
            running.kill();
            self.reaper.end(running.flight());
        }
        self.init = None;
        self.kill_all();
        self.kill_strangers();
        let Some(Container { launch, .. }) = &self.container else { return };
        let time = launch.undo.as_ref().map_or(KILL_GRACE, |undo| undo.time + KILL_GRACE);
        self.times.undone = Some(Instant::now() + time);
        // A failed undo is the daemon's to repeat: it reclaims by name.
        drop(self.run_speaking(Step::Undo));
        self.reaper.notice();
    }

    /// Children that no one claims. While nothing else of the runtime runs, they are what create left.
    fn strangers(&self) -> Vec<PidFd> {
        let known = self.known();
        let ours = tree::own_children().into_iter().filter(|pid| !known.contains(pid));
        ours.filter_map(|pid| PidFd::open(pid).ok())
            .filter(|process| matches!(process.peek(), Ok(None)))
            .collect()
    }

    fn kill_strangers(&self) {
        self.strangers().iter().for_each(PidFd::kill);
    }

    fn kill_leftovers(&mut self, now: Instant) {
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

    fn why(&self, step: Step, verdict: Verdict) -> String {
        self.container.as_ref().map_or_else(String::new, |c| c.why(step, verdict, &self.words))
    }

    /// Numbers of all processes that are waited for.
    fn known(&self) -> Vec<i32> {
        let command = self.command.as_ref().map(|(_, running)| running.pid());
        let init = self.init.as_ref().map(|init| init.pid);
        self.execs.pids().chain(command).chain(init).collect()
    }
}
