//! The runtime's commands of a container's life: create, start, and what takes a failed create back.
//!
//! Owns: how each is run and judged. Never: decides that it is run; that is the machine's.

use std::{fs::File, time::Instant};

use logs::FileSink;
use protocol::keeper::Kind;

use super::{
    adopt::{Whose, adopt},
    clock,
    command::{Running, Verdict},
    container::{Container, Step},
    machine::Event,
    oom::Oom,
    poll::Source,
    stage::{Stage, borrow, speaking},
    stdin::Stdin,
    supervisor::Supervisor,
    words::Words,
};
use crate::{
    fault::{Because, Fault},
    limits::KILL_GRACE,
    sys::pidfd::PidFd,
};

impl Supervisor {
    /// One of the runtime's commands may have ended.
    pub(crate) fn command_ready(&mut self) {
        let Some(verdict) = self.command.as_ref().and_then(|(_, running)| running.verdict()) else { return };
        let Some((step, running)) = self.command.take() else { return };
        self.poll.forget(running.process());
        let pipes = self.words.stop(&self.poll);
        if running.has_not_run(verdict) && step != Step::Undo {
            // It is run now.
            self.bury(step, &running);
            self.happen(Event::TakenOverIdle);
            return;
        }
        let event = match step {
            Step::Create => match self.judge_create(verdict, Whose::of(running.process()), pipes) {
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
            // Whether it has succeeded is the daemon's to see: it reclaims by name.
            Step::Undo => {
                self.bury(step, &running);
                return;
            }
        };
        // What follows is written down first, so that a successor finds the command or what came of it.
        self.happen(event);
        self.bury(step, &running);
        if step == Step::Create {
            // One that the keeper has told of already is not told of again.
            self.init_ready();
        }
    }

    /// A command has ended and what it made is known.
    fn bury(&mut self, step: Step, running: &Running) {
        self.reaper.end(running.flight());
        running.bury();
        self.kept.release(Kind::COMMAND, step.number());
        if step == Step::Create && self.terminal.is_some() {
            self.kept.release(Kind::CONSOLE, 0);
            self.kept.release(Kind::OUTPUT, 0);
        }
    }

    pub(super) fn run_create(&mut self) -> Result<(), Fault> {
        let Some(container) = &self.container else { return Ok(()) };
        let launch = &container.launch;
        // Before anything is run: without this record a daemon takes it that nothing ever was.
        container.write_status(&self.facts)?;
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
        let (create, id) = (launch.create.clone(), launch.id.clone());
        self.hold_streams();
        let kept = &mut self.kept;
        let tell = |process: &PidFd, pid: i32| kept.hold(Kind::COMMAND, Step::Create.number(), pid, process);
        let started = Running::start(
            (&create, id.as_str()),
            borrow(&stage.given),
            self.inherited,
            &mut self.reaper,
            tell,
        );
        let running = started.inspect_err(|_| self.kept.release(Kind::COMMAND, Step::Create.number()))?;
        let watched = self.poll.read(running.process(), Source::Command);
        self.command = Some((Step::Create, running));
        watched
    }

    /// Runs start or undo, which only speak.
    pub(super) fn run_speaking(&mut self, step: Step) -> Result<(), Fault> {
        let Some(container) = &self.container else { return Ok(()) };
        let Some(line) = container.line(step) else { return Ok(()) };
        let id = container.launch.id.as_str();
        let (out, given) = speaking(&self.null)?;
        self.poll.read(&out, Source::Words(0))?;
        self.words = Words::listen([Some(out), None]);
        let kept = &mut self.kept;
        let tell = |process: &PidFd, pid: i32| kept.hold(Kind::COMMAND, step.number(), pid, process);
        let started = Running::start((line, id), borrow(&given), self.inherited, &mut self.reaper, tell);
        let running = started.inspect_err(|_| self.kept.release(Kind::COMMAND, step.number()))?;
        let watched = self.poll.read(running.process(), Source::Command);
        self.command = Some((step, running));
        watched
    }

    /// Create has ended: is there an init process that is ours?
    fn judge_create(
        &mut self,
        verdict: Verdict,
        whose: Whose,
        pipes: [Option<File>; 2],
    ) -> Result<(), Fault> {
        if verdict != Verdict::Success {
            return Err(Fault::new(self.why(Step::Create, verdict)));
        }
        let known = self.known();
        let Some(Container { launch, .. }) = &self.container else { return Ok(()) };
        let wards = &mut self.wards;
        let ward = |fd| wards.add(Kind::INIT, 0, fd);
        // A killed shim may have got as far as to show it.
        let init = match self.init.take() {
            Some(init) => init,
            None => adopt(&launch.run_dir.pid_file(), whose, |pid| known.contains(&pid), ward)?,
        };
        if let Some(console) = self.console.take() {
            let master = console.take(&self.poll)?;
            let again = || master.try_clone().because(|| "no descriptor is left".into());
            self.pump.attach(&self.poll, 0, again()?)?;
            self.stdin = Stdin::open(again()?, launch.stdin_once);
            drop(std::fs::remove_file(launch.run_dir.console_socket()));
            self.kept.hold(Kind::TERMINAL, 0, 0, &master);
            self.has_held_terminal = true;
            self.terminal = Some(master);
        } else {
            for (number, pipe) in (0..).zip(pipes) {
                if let Some(pipe) = pipe {
                    self.pump.attach(&self.poll, number, pipe.into())?;
                }
            }
        }
        self.oom = Oom::watch(&launch.groups, &self.poll);
        if !init.process.is_ward() {
            self.poll.read(&init.process, Source::Init)?;
        }
        self.kept.hold(Kind::INIT, 0, init.pid, &init.process);
        self.reaper.claim(init.pid);
        self.facts.init_pid = init.pid;
        self.facts.created_at = clock::now();
        self.init = Some(init);
        Ok(())
    }

    pub(super) fn run_undo(&mut self) {
        // The keeper has them open too: their closing alone would not end the watch.
        self.words.stop(&self.poll);
        if let Some(console) = self.console.take() {
            self.poll.forget(console.listener());
        }
        self.stdin.close(&self.poll);
        // Create itself, where it was started and could not be watched.
        self.let_command_go();
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

    /// Ends a command and does not wait for it.
    pub(super) fn let_command_go(&mut self) {
        if let Some((step, running)) = self.command.take() {
            self.poll.forget(running.process());
            running.kill();
            self.reaper.end(running.flight());
            self.kept.release(Kind::COMMAND, step.number());
        }
    }

    /// Children that no one claims. While nothing else of the runtime runs, they are what create left.
    pub(super) fn strangers(&self) -> Vec<PidFd> {
        let known = self.known();
        let ours = crate::sys::children::own().into_iter().filter(|pid| !known.contains(pid));
        ours.filter_map(|pid| PidFd::open(pid).ok())
            .filter(|process| matches!(process.peek(), Ok(None)))
            .collect()
    }

    pub(super) fn kill_strangers(&self) {
        self.strangers().iter().for_each(PidFd::kill);
    }

    fn why(&self, step: Step, verdict: Verdict) -> String {
        self.container.as_ref().map_or_else(String::new, |c| c.why(step, verdict, &self.words))
    }
}
