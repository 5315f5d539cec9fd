//! One command run in a container: its processes, its deadline, and the descriptor in which its end is told.
//!
//! Owns: the processes. Never: another exec's.

use std::{
    fs,
    io::Write,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use protobuf::Message;
use protocol::{
    exit_record::cut,
    ids::ExecId,
    keeper::Kind,
    shim::{ExecOutcome, exec_outcome::How},
};

use super::Surroundings;
use crate::{
    fault::Fault,
    limits::OUTCOME_MAX,
    steps,
    supervise::{
        adopt::{Whose, adopt},
        command::{Running, Verdict},
        facts::failure,
        kill,
        launch::Groups,
        poll::Source,
        tree, words,
    },
    sys::{
        pidfd::{Ended, PidFd},
        process::Child,
    },
};

/// An exec.
#[derive(Debug)]
pub(super) struct Exec {
    pub(super) id: ExecId,
    pub(super) outcome: Option<OwnedFd>,
    pub(super) stage: Stage,
    pub(super) groups: Groups,
    pub(super) command_time: Duration,
    /// When it will have had its time.
    pub(super) deadline: Option<Instant>,
    /// It had its time and is being killed: when to look again, when to give up.
    pub(super) killing: Option<(Instant, Instant)>,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Stage {
    /// The runtime's exec runs.
    Command(Running),
    /// The process itself runs.
    Process(Child),
    /// It has ended; others of its groups are being killed.
    Gone,
}

impl Exec {
    /// The runtime's command has ended: the process runs, or this is how the exec ended.
    pub(super) fn command_ended(
        &mut self,
        verdict: Verdict,
        number: u32,
        around: &mut Surroundings<'_>,
    ) -> Option<How> {
        let Stage::Command(command) = std::mem::replace(&mut self.stage, Stage::Gone) else { return None };
        let adopted = match verdict {
            Verdict::Success => {
                let whose = Whose::of(command.process());
                let is_known = |pid| around.known.contains(&pid);
                adopt(&around.run_dir.exec_pid_file(&self.id), whose, is_known, |fd| {
                    around.wards.add(Kind::EXEC, number, fd)
                })
            }
            Verdict::Failed(_) if command.has_not_run(verdict) => {
                Err(Fault::new("its shim was killed before it was begun: nothing of it has run"))
            }
            Verdict::Failed(_) | Verdict::TimedOut => {
                let log = around.run_dir.exec_log(&self.id);
                let said = words::last_error(&log).or_else(|| words::no_room(&log));
                Err(Fault::new(said.unwrap_or_else(|| verdict.describe(self.command_time))))
            }
        };
        if let Ok(child) = &adopted {
            around.kept.hold(Kind::EXEC, number, child.pid, &child.process);
        }
        around.reaper.end(command.flight());
        command.bury();
        around.kept.release(Kind::EXEC_COMMAND, number);
        match adopted {
            Ok(child) => {
                around.reaper.claim(child.pid);
                let watched = around.watch(&child.process, Source::Exec(number));
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

    pub(super) fn due(&self) -> Option<Instant> {
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
    pub(super) fn kill(&self) -> bool {
        match &self.stage {
            Stage::Command(command) => command.kill(),
            Stage::Process(child) => kill_tree(child),
            Stage::Gone => {}
        }
        kill::kill_all(&self.groups)
    }

    pub(super) fn tell(&mut self, how: How) {
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
    if child.process.has_its_number() {
        tree::kill_descendants(child.pid);
    }
    PidFd::kill(&child.process);
}

pub(super) fn how(ended: Ended) -> How {
    match ended {
        Ended::Code(code) => How::Exited(code.into()),
        Ended::Signal(signal) => How::Signaled(signal.into()),
        Ended::Unknown => How::Failure(failure(
            "exec",
            "how it ended is not known: its shim and its keeper were killed",
            false,
        )),
    }
}
