//! One command of the runtime while it runs: its process, its deadline, and the flight that keeps strangers from
//! being reaped meanwhile.
//!
//! Owns: the command's process. Never: knows which command it is.

use std::{
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use super::{
    launch::CommandLine,
    reaper::{Flight, Reaper},
    tree,
};
use crate::{
    fault::{Because, Fault},
    steps,
    sys::{
        birth::Inherited,
        pidfd::{Ended, PidFd},
        process::{Child, NOT_STARTED, Program},
    },
};

/// A runtime's command that runs.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    flight: Flight,
    deadline: Instant,
    timed_out: bool,
}

/// How a command came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Exit code 0.
    Success,
    /// Anything else.
    Failed(Ended),
    /// It was killed for want of time.
    TimedOut,
}

impl Running {
    /// Starts a command for a container, with these streams. `tell`: whoever must know of it before it does anything.
    pub(crate) fn start(
        (line, container): (&CommandLine, &str),
        streams: [BorrowedFd<'_>; 3],
        limits: Inherited,
        reaper: &mut Reaper,
        tell: impl FnOnce(&PidFd, i32),
    ) -> Result<Self, Fault> {
        let container = Some(container);
        let program = Program { path: &line.program, args: &line.args, streams, limits, container };
        steps::check("supervise.spawn")?;
        let tell = |process: &PidFd, pid: i32| {
            tell(process, pid);
            steps::reach("supervise.told");
        };
        let child = program.start(tell).because(|| format!("{} cannot be started", line.program))?;
        steps::reach("supervise.spawned");
        let deadline = Instant::now() + line.time;
        Ok(Self { child, flight: reaper.begin(), deadline, timed_out: false })
    }

    /// One that a killed shim has started; it gets this much time once more.
    pub(crate) fn adopted(child: Child, time: Duration, reaper: &mut Reaper) -> Self {
        Self { child, flight: reaper.begin(), deadline: Instant::now() + time, timed_out: false }
    }

    /// The command's process, to be watched.
    pub(crate) fn process(&self) -> &PidFd {
        &self.child.process
    }

    /// Its number, while it is not reaped.
    pub(crate) fn pid(&self) -> i32 {
        self.child.pid
    }

    /// When it will have had its time; `None`: it had.
    pub(crate) fn due(&self) -> Option<Instant> {
        (!self.timed_out).then_some(self.deadline)
    }

    /// Shortens its time.
    pub(crate) fn no_later_than(&mut self, deadline: Instant) {
        self.deadline = self.deadline.min(deadline);
    }

    /// Kills it and all its descendants, where its time is over.
    pub(crate) fn on_time(&mut self, now: Instant) {
        if self.due().is_some_and(|at| at <= now) {
            self.timed_out = true;
            self.kill();
        }
    }

    /// Kills it and all its descendants.
    pub(crate) fn kill(&self) {
        // Stopped first, so that it starts nothing more. It may have ended already; its children are then ours.
        self.child.process.signal(nix::libc::SIGSTOP).ok();
        if self.child.process.has_its_number() {
            tree::kill_descendants(self.child.pid);
        }
        self.child.process.kill();
    }

    /// Whether nothing of it has run: its shim was killed between making it and letting it go.
    pub(crate) fn has_not_run(&self, verdict: Verdict) -> bool {
        self.child.process.is_ward() && verdict == Verdict::Failed(Ended::Code(NOT_STARTED))
    }

    /// How it ended, if it has. It is reaped by [`Running::bury`], when what follows from that is remembered.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let ended = self.child.process.peek().ok()??;
        steps::reach("supervise.command_ended");
        Some(match ended {
            _ if self.timed_out => Verdict::TimedOut,
            Ended::Code(0) => Verdict::Success,
            other => Verdict::Failed(other),
        })
    }

    /// Reaps it. Call [`Reaper::end`] with the flight when its pid file was read.
    pub(crate) fn bury(&self) {
        // A ward is the keeper's to reap.
        self.child.process.reap().ok();
    }

    /// The flight, to be ended.
    pub(crate) fn flight(&self) -> &Flight {
        &self.flight
    }
}

impl Verdict {
    /// Why it failed, where the runtime itself said nothing.
    pub(crate) fn describe(self, time: Duration) -> String {
        match self {
            Self::Success => "the runtime succeeded".into(),
            Self::Failed(Ended::Code(code)) => {
                format!("the runtime exited with code {code} and said nothing")
            }
            Self::Failed(Ended::Signal(signal)) => format!("signal {signal} ended the runtime"),
            Self::Failed(Ended::Unknown) => {
                "how the runtime ended is not known: its keeper was killed".into()
            }
            Self::TimedOut => {
                format!("the runtime did not end within {} ms and was killed", time.as_millis())
            }
        }
    }
}
