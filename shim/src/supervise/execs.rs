//! Commands run in a container beside its own program: each by the runtime's exec, with descriptors that came with
//! the call, to an outcome written into one of them.
//!
//! Owns: all execs that run. Never: reads or writes their streams; reports one process's end as another's.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

use protobuf::Message;
use protocol::{
    exit_record::cut,
    ids::ExecId,
    rundir::RunDir,
    shim::{ExecOutcome, ExecRequest, exec_outcome::How},
};

use super::{
    adopt::adopt,
    command::{Running, Verdict},
    control::Refusal,
    facts::failure,
    kill,
    launch::{CommandLine, Groups},
    poll::{Poll, Source},
    reaper::Reaper,
    stdin::set_nonblocking,
    tree, words,
};
use crate::{
    limits::{EXECS_MAX, KILL_AGAIN, KILL_GRACE, OUTCOME_MAX},
    steps,
    sys::{
        birth::Inherited,
        pidfd::{Ended, PidFd},
        process::Child,
    },
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
}

#[derive(Debug)]
struct Exec {
    id: ExecId,
    outcome: Option<OwnedFd>,
    stage: Stage,
    groups: Groups,
    command_time: Duration,
    /// When it will have had its time.
    deadline: Option<Instant>,
    /// It had its time and is being killed: when to look again, when to give up.
    killing: Option<(Instant, Instant)>,
}

#[derive(Debug)]
enum Stage {
    /// The runtime's exec runs.
    Command(Running),
    /// The process itself runs.
    Process(Child),
    /// It has ended; others of its groups are being killed.
    Gone,
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
        let started = Running::start(&line, streams, limits, around.reaper);
        let mut command = started.map_err(|fault| {
            self.remove(&groups);
            Refusal::failed(&fault)
        })?;
        if let Some(deadline) = deadline {
            command.no_later_than(deadline);
        }
        let number = self.next;
        self.next += 1;
        if let Err(fault) = around.poll.read(command.process(), Source::Exec(number)) {
            // Nobody would learn of its end.
            command.kill();
            around.reaper.end(command.flight());
            return Err(Refusal::failed(&fault));
        }
        let exec = Exec {
            id,
            outcome: Some(outcome),
            stage: Stage::Command(command),
            groups,
            command_time: line.time,
            deadline,
            killing: None,
        };
        self.running.insert(number, exec);
        Ok(())
    }

    /// A process of an exec has ended.
    pub(crate) fn ready(&mut self, number: u32, around: &mut Surroundings<'_>) {
        let Some(exec) = self.running.get_mut(&number) else { return };
        match &exec.stage {
            Stage::Command(command) => {
                let Some(verdict) = command.reap() else { return };
                around.poll.forget(command.process());
                let how = exec.command_ended(verdict, number, around);
                if let Some(how) = how {
                    self.finish(number, how, around.run_dir);
                }
            }
            Stage::Process(child) => {
                let Ok(Some(ended)) = child.process.reap() else { return };
                around.poll.forget(&child.process);
                exec.stage = Stage::Gone;
                match exec.killing {
                    Some(_) => self.kill_on(number, Instant::now(), around.run_dir),
                    None => self.finish(number, how(ended), around.run_dir),
                }
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
                self.kill_on(number, now, around.run_dir);
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
    fn kill_on(&mut self, number: u32, now: Instant, run_dir: &RunDir) {
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
            self.finish(number, How::TimedOut(true), run_dir);
        }
    }

    fn finish(&mut self, number: u32, how: How, run_dir: &RunDir) {
        let Some(mut exec) = self.running.remove(&number) else { return };
        forget_notes(run_dir, &exec.id);
        self.remove(&exec.groups);
        exec.tell(how);
    }

    fn remove(&mut self, groups: &Groups) {
        self.leftovers.extend(groups.iter().cloned());
        // A background process may keep a group; it is tried again with the next exec that ends.
        self.leftovers
            .retain(|group| fs::remove_dir(group).is_err_and(|e| e.kind() != std::io::ErrorKind::NotFound));
        self.leftovers.truncate(EXECS_MAX);
    }
}

impl Exec {
    /// The runtime's command has ended: the process runs, or this is how the exec ended.
    fn command_ended(&mut self, verdict: Verdict, number: u32, around: &mut Surroundings<'_>) -> Option<How> {
        let adopted = match verdict {
            Verdict::Success => {
                adopt(&around.run_dir.exec_pid_file(&self.id), |pid| around.known.contains(&pid))
            }
            Verdict::Failed(_) | Verdict::TimedOut => {
                let said = words::last_error(&around.run_dir.exec_log(&self.id));
                Err(crate::fault::Fault::new(said.unwrap_or_else(|| verdict.describe(self.command_time))))
            }
        };
        if let Stage::Command(command) = &self.stage {
            around.reaper.end(command.flight());
        }
        self.stage = Stage::Gone;
        match adopted {
            Ok(child) => {
                around.reaper.claim(child.pid);
                let watched = around.poll.read(&child.process, Source::Exec(number));
                self.stage = Stage::Process(child);
                match watched {
                    Ok(()) => None,
                    Err(fault) => {
                        self.kill();
                        Some(How::Failure(failure("exec", &fault.to_string(), false)))
                    }
                }
            }
            Err(_) if self.killing.is_some() => {
                self.kill();
                Some(How::TimedOut(true))
            }
            Err(fault) => {
                kill::kill_all(&self.groups);
                Some(How::Failure(failure("exec", &fault.to_string(), verdict == Verdict::TimedOut)))
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        let command = match &self.stage {
            Stage::Command(command) => command.due(),
            Stage::Process(_) | Stage::Gone => None,
        };
        match self.killing {
            Some((again, _)) => Some(again),
            None => self.deadline.into_iter().chain(command).min(),
        }
    }

    /// SIGKILL to its whole tree. `true`: some of its groups' processes may still be there.
    fn kill(&self) -> bool {
        match &self.stage {
            Stage::Command(command) => command.kill(),
            Stage::Process(child) => kill_tree(child),
            Stage::Gone => {}
        }
        kill::kill_all(&self.groups)
    }

    fn tell(&mut self, how: How) {
        let Some(outcome) = self.outcome.take() else { return };
        steps::reach("supervise.outcome");
        let how = match how {
            How::Failure(mut failure) => {
                // Half of what a pipe takes at once: the rest of the message is a few bytes.
                failure.message = cut(&failure.message).chars().take(OUTCOME_MAX / 8).collect();
                How::Failure(failure)
            }
            other => other,
        };
        let message = ExecOutcome { how: Some(how), ..ExecOutcome::default() };
        if let Ok(bytes) = message.write_to_bytes() {
            // Nobody may listen any more: a daemon that died. Then there is nobody to tell.
            drop(fs::File::from(outcome).write_all(&bytes));
        }
    }
}

fn kill_tree(child: &Child) {
    child.process.signal(nix::libc::SIGSTOP).ok();
    tree::kill_descendants(child.pid);
    PidFd::kill(&child.process);
}

fn how(ended: Ended) -> How {
    match ended {
        Ended::Code(code) => How::Exited(code.into()),
        Ended::Signal(signal) => How::Signaled(signal.into()),
    }
}

fn invalid(fault: crate::fault::Fault) -> Refusal {
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
