//! Commands run in a container beside its own program: each by the runtime's exec, with descriptors that came with
//! the call, to an outcome written into one of them.
//!
//! Owns: all execs that run. Never: reads or writes their streams; reports one process's end as another's.

mod exec;

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

use protocol::{
    ids::ExecId,
    keeper::{Kind, RememberedExec},
    rundir::RunDir,
    shim::{ExecRequest, exec_outcome::How},
};

use self::exec::{Exec, Stage, how};
use super::{
    clock,
    command::Running,
    control::Refusal,
    facts::failure,
    kept::Kept,
    launch::{CommandLine, Groups},
    memo,
    poll::{Poll, Source},
    reaper::Reaper,
    stdin::set_nonblocking,
    wards::Wards,
};
use crate::{
    fault::Fault,
    limits::{EXECS_MAX, KILL_AGAIN, KILL_GRACE},
    steps,
    sys::{birth::Inherited, pidfd::PidFd, process::Child},
};

/// All execs that run.
#[derive(Debug, Default)]
pub(crate) struct Execs {
    running: BTreeMap<u32, Exec>,
    next: u32,
    /// Groups that still held a background process when their exec ended.
    leftovers: Vec<PathBuf>,
}

/// What an exec needs of its surroundings.
pub(crate) struct Surroundings<'a> {
    /// To watch its processes.
    pub(crate) poll: &'a Poll,
    /// To keep them from being reaped as strangers.
    pub(crate) reaper: &'a mut Reaper,
    /// Where the runtime leaves its notes.
    pub(crate) run_dir: &'a RunDir,
    /// Processes of the container that are known already.
    pub(crate) known: &'a [i32],
    /// Where what must outlive this shim is held.
    pub(crate) kept: &'a mut Kept,
    /// Writes down which execs there are.
    pub(crate) remember: &'a dyn Fn(&Execs),
    /// Children of the keeper's.
    pub(crate) wards: &'a mut Wards,
}

impl Surroundings<'_> {
    /// Watches a process, unless its end comes by word.
    fn watch(&self, process: &PidFd, source: Source) -> Result<(), Fault> {
        if process.is_ward() { Ok(()) } else { self.poll.read(process, source) }
    }
}

/// What the keeper held of one.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Where its outcome is written.
    pub(crate) outcome: Option<OwnedFd>,
    /// The runtime's exec.
    pub(crate) command: Option<Child>,
    /// The process that it made.
    pub(crate) process: Option<Child>,
}

impl Execs {
    /// Starts one. `outer`: the container's groups; `null`: for an absent stdin.
    pub(crate) fn start(
        &mut self,
        request: ExecRequest,
        descriptors: Vec<OwnedFd>,
        outer: &Groups,
        (null, limits): (&fs::File, Inherited),
        around: &mut Surroundings<'_>,
    ) -> Result<(), Refusal> {
        let id = ExecId::parse(&request.exec_id).map_err(|e| Refusal::invalid(format!("exec_id: {e}")))?;
        if self.running.values().any(|exec| exec.id == id) {
            return Err(Refusal::invalid(format!("exec {id} runs already")));
        }
        if self.running.len() >= EXECS_MAX {
            return Err(Refusal::exhausted(format!("{EXECS_MAX} execs run in this container already")));
        }
        steps::check("supervise.exec").map_err(|fault| Refusal::failed(&fault))?;
        let line = CommandLine::check("command", request.command.into_option()).map_err(invalid)?;
        let groups = Groups::check(request.cgroups.into_option().unwrap_or_default()).map_err(invalid)?;
        if !groups.are_below(outer) {
            return Err(Refusal::invalid("cgroups: an exec's are below its container's"));
        }
        let mut descriptors = descriptors.into_iter();
        let (Some(out), Some(err), Some(outcome)) =
            (descriptors.next(), descriptors.next(), descriptors.next())
        else {
            return Err(Refusal::invalid(
                "an exec brings stdout, stderr and the outcome, and may bring stdin",
            ));
        };
        let stdin = descriptors.next();
        set_nonblocking(&outcome).map_err(invalid)?;
        make(&groups);
        forget_notes(around.run_dir, &id);
        let deadline = (request.timeout_ms > 0)
            .then(|| Instant::now() + Duration::from_millis(request.timeout_ms.into()));
        let streams = [stdin.as_ref().map_or(null.as_fd(), AsFd::as_fd), out.as_fd(), err.as_fd()];
        let number = self.next;
        self.next += 1;
        around.kept.hold(Kind::OUTCOME, number, 0, &outcome);
        let exec = Exec {
            id,
            outcome: Some(outcome),
            stage: Stage::Gone,
            groups,
            command_time: line.time,
            deadline,
            killing: None,
        };
        self.running.insert(number, exec);
        (around.remember)(self);
        let kept = &mut *around.kept;
        let tell = |process: &PidFd, pid: i32| kept.hold(Kind::EXEC_COMMAND, number, pid, process);
        let started = Running::start((&line, around.run_dir.name()), streams, limits, around.reaper, tell);
        let watched = started.and_then(|mut command| {
            if let Some(deadline) = deadline {
                command.no_later_than(deadline);
            }
            around.poll.read(command.process(), Source::Exec(number)).inspect_err(|_| {
                // Nobody would learn of its end.
                command.kill();
                around.reaper.end(command.flight());
            })?;
            Ok(command)
        });
        match (watched, self.running.get_mut(&number)) {
            (Ok(command), Some(exec)) => exec.stage = Stage::Command(command),
            (Ok(_), None) => {}
            (Err(fault), _) => {
                around.kept.release(Kind::EXEC_COMMAND, number);
                self.forget(number, around);
                return Err(Refusal::failed(&fault));
            }
        }
        Ok(())
    }

    /// A process of an exec has ended.
    pub(crate) fn ready(&mut self, number: u32, around: &mut Surroundings<'_>) {
        let Some(exec) = self.running.get_mut(&number) else { return };
        match &exec.stage {
            Stage::Command(command) => {
                let Some(verdict) = command.verdict() else { return };
                around.poll.forget(command.process());
                let how = exec.command_ended(verdict, number, around);
                if let Some(how) = how {
                    self.finish(number, how, around);
                }
            }
            Stage::Process(child) => {
                let Ok(Some(ended)) = child.process.peek() else { return };
                around.poll.forget(&child.process);
                let Stage::Process(child) = std::mem::replace(&mut exec.stage, Stage::Gone) else { return };
                match exec.killing {
                    Some(_) => self.kill_on(number, Instant::now(), around),
                    None => self.finish(number, how(ended), around),
                }
                child.process.reap().ok();
                around.kept.release(Kind::EXEC, number);
            }
            Stage::Gone => {}
        }
    }

    /// Kills what had its time.
    pub(crate) fn on_time(&mut self, now: Instant, around: &mut Surroundings<'_>) {
        let due: Vec<u32> = self
            .running
            .iter()
            .filter(|(_, exec)| exec.due().is_some_and(|at| at <= now))
            .map(|(&n, _)| n)
            .collect();
        for number in due {
            let Some(exec) = self.running.get_mut(&number) else { continue };
            if let Stage::Command(command) = &mut exec.stage {
                command.on_time(now);
            }
            if exec.killing.is_none() && exec.deadline.is_some_and(|at| at <= now) {
                exec.killing = Some((now, now + KILL_GRACE));
            }
            if exec.killing.is_some() {
                self.kill_on(number, now, around);
            }
            // Its end may not be watched, or have been missed.
            self.ready(number, around);
        }
    }

    /// When time alone will make something due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.running.values().filter_map(Exec::due).min()
    }

    /// Numbers of all processes of execs that are not reaped.
    pub(crate) fn pids(&self) -> impl Iterator<Item = i32> {
        self.running.values().filter_map(|exec| match &exec.stage {
            Stage::Command(command) => Some(command.pid()),
            Stage::Process(child) => Some(child.pid),
            Stage::Gone => None,
        })
    }

    /// What a successor must know of them.
    pub(crate) fn memo(&self) -> Vec<RememberedExec> {
        let one = |(&number, exec): (&u32, &Exec)| RememberedExec {
            number,
            id: exec.id.to_string(),
            unified: text(exec.groups.unified.as_deref()),
            memory: text(exec.groups.memory.as_deref()),
            freezer: text(exec.groups.freezer.as_deref()),
            command_ms: memo::millis(exec.command_time),
            deadline: exec.deadline.map_or(0, clock::to_nanos),
            ..RememberedExec::default()
        };
        self.running.iter().map(one).collect()
    }

    /// The number of the next one.
    pub(crate) fn next_number(&self) -> u32 {
        self.next
    }

    /// Takes over those of a killed shim. `process` gives what is held of one: its command, or what that made.
    pub(crate) fn take_over(
        &mut self,
        (memo, next): (&[RememberedExec], u32),
        mut held: impl FnMut(u32) -> Held,
        around: &mut Surroundings<'_>,
    ) {
        self.next = next;
        for exec in memo {
            let (Ok(id), Ok(groups)) = (ExecId::parse(&exec.id), memo::groups(exec)) else { continue };
            let Held { outcome, command, process } = held(exec.number);
            let command_time = Duration::from_millis(exec.command_ms);
            let deadline = (exec.deadline > 0).then(|| clock::from_nanos(exec.deadline));
            let stage = match (process, command) {
                (Some(process), command) => {
                    if command.is_some() {
                        around.kept.release(Kind::EXEC_COMMAND, exec.number);
                    }
                    Stage::Process(process)
                }
                (None, Some(command)) => {
                    Stage::Command(Running::adopted(command, command_time, around.reaper))
                }
                (None, None) => Stage::Gone,
            };
            let is_gone = matches!(stage, Stage::Gone);
            let now = Instant::now();
            // One whose time is over was being killed, and is killed on.
            let killing = deadline.is_some_and(|at| at <= now).then_some((now, now + KILL_GRACE));
            let taken = Exec { id, outcome, stage, groups, command_time, deadline, killing };
            self.running.insert(exec.number, taken);
            if killing.is_some() {
                self.kill_on(exec.number, now, around);
            } else if is_gone {
                // Killed before its gate was opened, or when its end was just told.
                let why = "its shim was killed before it began";
                self.finish(exec.number, How::Failure(failure("exec", why, false)), around);
            }
        }
    }

    /// Shows all that is held of them to another keeper.
    pub(crate) fn hand_over(&self, kept: &mut Kept) {
        for (&number, exec) in &self.running {
            if let Some(outcome) = &exec.outcome {
                kept.hold(Kind::OUTCOME, number, 0, outcome);
            }
            match &exec.stage {
                Stage::Command(command) => {
                    kept.hold(Kind::EXEC_COMMAND, number, command.pid(), command.process());
                }
                Stage::Process(child) => kept.hold(Kind::EXEC, number, child.pid, &child.process),
                Stage::Gone => {}
            }
        }
    }

    /// Kills all: the shim leaves.
    pub(crate) fn kill_all(&mut self) {
        for exec in self.running.values() {
            exec.kill();
        }
        for group in std::mem::take(&mut self.leftovers) {
            // The container's groups are removed by the daemon, with all that is in them.
            drop(fs::remove_dir(group));
        }
    }

    /// Goes on killing; finishes when all are gone or the grace is over.
    fn kill_on(&mut self, number: u32, now: Instant, around: &mut Surroundings<'_>) {
        let Some(exec) = self.running.get_mut(&number) else { return };
        let Some((_, give_up)) = exec.killing else { return };
        let is_left = exec.kill() || !matches!(exec.stage, Stage::Gone);
        if is_left && now < give_up {
            exec.killing = Some((now + KILL_AGAIN, give_up));
        } else if is_left {
            // It cannot be killed, now or perhaps ever. Its waiter is told; its process stays known, to be reaped.
            exec.killing = Some((now + KILL_GRACE, give_up));
            exec.tell(How::TimedOut(true));
        } else {
            self.finish(number, How::TimedOut(true), around);
        }
    }

    fn finish(&mut self, number: u32, how: How, around: &mut Surroundings<'_>) {
        if let Some(exec) = self.running.get_mut(&number) {
            exec.tell(how);
        }
        self.forget(number, around);
    }

    fn forget(&mut self, number: u32, around: &mut Surroundings<'_>) {
        let Some(exec) = self.running.remove(&number) else { return };
        forget_notes(around.run_dir, &exec.id);
        self.remove(&exec.groups);
        (around.remember)(self);
        around.kept.release(Kind::OUTCOME, number);
    }

    fn remove(&mut self, groups: &Groups) {
        self.leftovers.extend(groups.iter().cloned());
        // A background process may keep a group; it is tried again with the next exec that ends.
        self.leftovers
            .retain(|group| fs::remove_dir(group).is_err_and(|e| e.kind() != std::io::ErrorKind::NotFound));
        self.leftovers.truncate(EXECS_MAX);
    }
}

fn text(path: Option<&std::path::Path>) -> String {
    path.map_or_else(String::new, |path| path.to_string_lossy().into_owned())
}

fn invalid(fault: Fault) -> Refusal {
    Refusal::invalid(fault.to_string())
}

fn make(groups: &Groups) {
    for group in groups.iter() {
        // One that is there already, or cannot be made, shows in what the runtime says.
        drop(fs::create_dir(group));
    }
}

fn forget_notes(run_dir: &RunDir, id: &ExecId) {
    for note in [run_dir.exec_pid_file(id), run_dir.exec_log(id)] {
        drop(fs::remove_file(note));
    }
}
