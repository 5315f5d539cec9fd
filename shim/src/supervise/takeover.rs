//! In the place of a killed shim: its container goes on under this one.
//!
//! Owns: the order in which what was left is taken up. Never: asks the container for anything; it does not notice.

use std::{fs::File, os::fd::OwnedFd};

use protobuf::Message;
use protocol::{
    keeper::{Kind, Word, word::Verb},
    shim::LaunchRequest,
};

use super::{
    clock,
    command::Running,
    container::{Container, Step},
    control::Control,
    event_loop,
    execs::Held,
    inheritance::Estate,
    journal::Journal,
    kept::Kept,
    launch::{Launch, StreamKind},
    machine::{Event, State},
    memo,
    oom::Oom,
    poll::{Poll, Source},
    stage::Console,
    stdin::Stdin,
    supervisor::Supervisor,
    words::Words,
};
use crate::{
    fault::{Because, Fault},
    steps,
    sys::{
        birth::{self, Inherited},
        pidfd::Ended,
        process::Child,
    },
};

impl Supervisor {
    /// Takes all of it up. An error: the keeper starts another, or gives up.
    pub(crate) fn take_over(
        poll: Poll,
        (null, inherited): (File, Inherited),
        kept: Kept,
        mut estate: Estate,
    ) -> Result<Self, Fault> {
        steps::check("supervise.take_over")?;
        birth::silence(&null).because(|| "the standard streams cannot be replaced".into())?;
        let journal = Journal::take_over(estate.need(Kind::MEMORY)?)?;
        let order = LaunchRequest::parse_from_bytes(&journal.order()?)
            .map_err(|error| Fault::new(format!("the order of a killed shim cannot be read: {error}")))?;
        let launch = Launch::check(order)?;
        let listener = estate.take(Kind::LISTENER, 0).map(|(fd, _)| fd);
        let control = Control::take_over(&poll, listener, &launch.run_dir)?;
        let (state, facts, memo) = memo::recall(&journal)?;
        let lock = estate.need(Kind::LOCK)?;
        let mut shim = Self::new(poll, control, (null, inherited), kept, journal)?;
        (shim.state, shim.facts) = (state, facts);
        shim.facts.replaced = estate.replaced;
        shim.container = Some(Container::take_over(launch, lock)?);
        shim.take_streams(&mut estate)?;
        shim.take_processes(&mut estate, memo.oom_kills)?;
        shim.take_execs(&mut estate, (&memo.execs, memo.next_exec));
        // Left behind in the middle of something: of no use to anybody.
        for (kind, number) in estate.rest() {
            shim.kept.release(kind, number);
        }
        let has_command = shim.command.is_some();
        shim.remember();
        shim.kept.taken();
        shim.happen(if has_command { Event::TakenOver } else { Event::TakenOverIdle });
        for word in estate.ended {
            shim.told(&word);
        }
        shim.miss_init();
        steps::reach("supervise.taken_over");
        Ok(shim)
    }

    /// The keeper says something, or is gone.
    pub(crate) fn keeper_ready(&mut self) {
        match self.kept.ready(&self.poll) {
            Ok(words) => words.iter().for_each(|(word, _)| self.told(word)),
            Err(()) => self.wards.orphan(std::time::Instant::now()),
        }
    }

    /// The keeper tells how a process of ours ended that is its child.
    fn told(&mut self, word: &Word) {
        if word.verb.enum_value_or_default() != Verb::ENDED {
            return;
        }
        if let Some(source) = self.wards.ended(word) {
            if word.kind.enum_value_or_default() == Kind::INIT && word.at > 0 {
                // The keeper saw it first.
                self.ended_at = Some(word.at);
            }
            event_loop::handle_end(self, source);
        }
    }

    fn take_streams(&mut self, estate: &mut Estate) -> Result<(), Fault> {
        let Some(Container { launch, .. }) = &self.container else { return Ok(()) };
        let (kind, once, log) = (launch.streams, launch.stdin_once, launch.log.clone());
        let mut terminal = estate.take(Kind::TERMINAL, 0).map(|(fd, _)| fd);
        let outputs = [0, 1].map(|number| estate.take(Kind::OUTPUT, number).map(|(fd, _)| fd));
        // Until create has ended, what comes is the runtime's words.
        let is_creating = matches!(self.state, State::Born | State::Creating);
        if let Some((console, _)) = estate.take(Kind::CONSOLE, 0)
            && is_creating
        {
            let console = Console::take_over(console, terminal.take());
            console.watch(&self.poll)?;
            self.console = Some(console);
        }
        if let Some(terminal) = terminal {
            let again = || terminal.try_clone().because(|| "no descriptor is left".into());
            self.pump.attach(&self.poll, 0, again()?)?;
            self.stdin = Stdin::open(again()?, once);
            self.terminal = Some(terminal);
            self.has_held_terminal = true;
            // What was the runtime's words, where a shim was killed before it had let go of them.
            for (number, end) in (0..).zip(&outputs) {
                if end.is_some() {
                    self.kept.release(Kind::OUTPUT, number);
                }
            }
        } else if is_creating {
            self.listen_to(outputs)?;
        } else if kind != StreamKind::Terminal {
            for (number, end) in (0..).zip(outputs) {
                if let Some(end) = end {
                    self.pump.attach(&self.poll, number, end)?;
                }
            }
        }
        if let Some((stdin, _)) = estate.take(Kind::STDIN, 0) {
            self.stdin = Stdin::open(stdin, once);
            self.has_held_stdin = true;
        }
        if let (Some(path), Some((open, _))) = (log, estate.take(Kind::LOG, 0)) {
            self.pump.resume(&path, open);
        }
        Ok(())
    }

    /// A process that must be there, and that nobody held: how it ends will never be known, so it ends now.
    fn miss_init(&mut self) {
        if self.state.has_init() && self.init.is_none() && self.facts.ended.is_none() {
            self.kill_all();
            self.facts.ended = Some((Ended::Unknown, clock::now()));
            self.happen(Event::InitEnded);
        }
    }

    fn listen_to(&mut self, outputs: [Option<OwnedFd>; 2]) -> Result<(), Fault> {
        let pipes = outputs.map(|end| end.map(File::from));
        for (number, pipe) in (0..).zip(&pipes) {
            if let Some(pipe) = pipe {
                self.poll.read(pipe, Source::Words(number))?;
            }
        }
        self.words = Words::listen(pipes);
        Ok(())
    }

    fn take_processes(&mut self, estate: &mut Estate, oom_kills: u32) -> Result<(), Fault> {
        let Some(container) = &self.container else { return Ok(()) };
        if let Some((fd, pid)) = estate.take(Kind::INIT, 0) {
            // One that is written down to have ended is waited for by nobody.
            let process = self.wards.add(Kind::INIT, 0, fd);
            if self.facts.ended.is_none() {
                self.init = Some(Child { process, pid });
            } else {
                self.kept.release(Kind::INIT, 0);
            }
            self.oom = Oom::watch(&container.launch.groups, &self.poll);
        }
        self.oom.at_least(oom_kills);
        while let Some((number, fd, pid)) = estate.take_any(Kind::COMMAND) {
            let step = Step::of(number);
            // Of an earlier state: what came of it is written down.
            let Some(step) = step.filter(|&step| is_awaited(self.state, step)) else {
                self.kept.release(Kind::COMMAND, number);
                continue;
            };
            let time = container.line(step).map(|line| line.time).unwrap_or_default();
            let process = self.wards.add(Kind::COMMAND, number, fd);
            let running = Running::adopted(Child { process, pid }, time, &mut self.reaper);
            self.command = Some((step, running));
        }
        Ok(())
    }

    fn take_execs(&mut self, estate: &mut Estate, memo: (&[protocol::keeper::RememberedExec], u32)) {
        let wards = std::mem::take(&mut self.wards);
        let mut wards = wards;
        let held: Vec<(u32, Held)> = memo
            .0
            .iter()
            .map(|exec| {
                let number = exec.number;
                let mut child = |kind| {
                    let (fd, pid) = estate.take(kind, number)?;
                    Some(Child { process: wards.add(kind, number, fd), pid })
                };
                let (command, process) = (child(Kind::EXEC_COMMAND), child(Kind::EXEC));
                let outcome = estate.take(Kind::OUTCOME, number).map(|(fd, _)| fd);
                (number, Held { outcome, command, process })
            })
            .collect();
        self.wards = wards;
        let mut held: std::collections::BTreeMap<u32, Held> = held.into_iter().collect();
        self.with_execs(|execs, _, around| {
            execs.take_over(memo, |number| held.remove(&number).unwrap_or_default(), around);
        });
    }
}

/// Whether a state waits for the end of this command.
fn is_awaited(state: State, step: Step) -> bool {
    match step {
        Step::Create => state == State::Creating,
        Step::Start => matches!(state, State::Starting | State::StartingEnded),
        // It is run again.
        Step::Undo => false,
    }
}
