//! Faults at random: deaths of the daemon, of shims and of the keeper, steps that fail or take long, shims that are
//! stopped for a while. What it breaks it counts; what it stops it lets go on.
//!
//! Owns: the choice of the next fault. Never: judges what comes of it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    daemon::Daemon,
    eventually::within,
    failpoints::{self, Failpoints, Point},
    kubelet_model::Truth,
    random::Random,
};

/// Between two faults.
const PEACE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(700));
/// How long a step takes that is held up, in milliseconds: beyond a caller's patience, within its deadline.
const HOLD_UP: (u64, u64) = (50, 1500);
/// How long a shim is stopped: beyond the daemon's patience with one, within a call's deadline.
const STOPPED: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(4));
/// Steps that are hit by more than what the model made, or only while a daemon starts.
const SPARED: [&str; 2] = ["recover.begin", "supervise.greeted"];
/// SIGKILL, as a shell counts.
const KILLED: i32 = 137;
/// The keeper's process.
const KEEPER: &str = "taffrail-keeper";

/// What may be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Everything,
    /// All but the daemon's process, so that its memory can be watched.
    SparesTheDaemon,
}

/// The faults so far, and what is needed for more.
#[derive(Debug)]
pub struct Chaos {
    points: Failpoints,
    names: Vec<Point>,
    random: Random,
    counts: BTreeMap<&'static str, u64>,
    /// Stopped shims, and until when.
    stopped: Vec<(Pid, Instant)>,
    spared: Vec<String>,
    set: Vec<String>,
}

impl Chaos {
    /// Faults of this seed. `spared`: containers whose shims live.
    pub fn new(points: Failpoints, seed: u64, spared: Vec<String>) -> Self {
        let names = failpoints::points();
        let names = names.into_iter().filter(|point| !SPARED.contains(&point.name.as_str())).collect();
        Self {
            points,
            names,
            random: Random::new(seed),
            counts: BTreeMap::new(),
            stopped: Vec::new(),
            spared,
            set: Vec::new(),
        }
    }

    /// Faults until the time is over; a daemon that died is followed by another. `look` is called between them.
    pub fn go_on(
        &mut self,
        daemon: &mut Daemon,
        truth: &Truth,
        (scope, time): (Scope, Duration),
        mut look: impl FnMut(&Daemon),
    ) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let peace = self.random.between(PEACE.0, PEACE.1);
            within(peace.min(end.saturating_duration_since(Instant::now())), || {
                self.let_go(Instant::now());
                self.revive(daemon, truth);
                None::<()>
            });
            self.fault(daemon, truth, scope);
            self.revive(daemon, truth);
            look(daemon);
        }
    }

    /// Nothing that was set happens any more, and a daemon serves.
    pub fn calm(&mut self, daemon: &mut Daemon, truth: &Truth) {
        for step in std::mem::take(&mut self.set) {
            self.points.clear(&step);
        }
        self.revive(daemon, truth);
    }

    /// No more faults: everything that was set is cleared, what was stopped goes on, and a daemon serves.
    pub fn end(&mut self, daemon: &mut Daemon, truth: &Truth) -> String {
        self.calm(daemon, truth);
        for (pid, _) in std::mem::take(&mut self.stopped) {
            // It may have been killed meanwhile.
            kill(pid, Signal::SIGCONT).ok();
        }
        let counts = self.counts.iter().map(|(what, count)| format!("{count} {what}"));
        counts.collect::<Vec<_>>().join(", ")
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn fault(&mut self, daemon: &mut Daemon, truth: &Truth, scope: Scope) {
        match self.random.below(20) {
            0 if scope == Scope::Everything => {
                daemon.kill9();
                self.count("daemons killed");
            }
            1..3 if scope == Scope::Everything => {
                if self.set(|point| !point.name.starts_with("supervise."), "kill@1") {
                    self.count("daemons set to die at a step");
                }
            }
            0..8 => {
                if self.set(|point| point.fails, "fail@1") {
                    self.count("steps set to fail");
                }
            }
            8..13 => {
                let ms = HOLD_UP.0 + self.random.below(HOLD_UP.1 - HOLD_UP.0);
                if self.set(|_| true, &format!("delay({ms})@1")) {
                    self.count("steps set to take long");
                }
            }
            13..15 => self.shoot(daemon, truth),
            15..17 => {
                truth.shim_killed();
                if self.set(|point| point.name.starts_with("supervise."), "kill@1") {
                    self.count("shims set to die at a step");
                }
            }
            17..19 => self.stop(daemon),
            _ => {
                let keeper =
                    daemon.nursery().descendants().into_iter().find(|process| process.name == KEEPER);
                if let Some(keeper) = keeper {
                    kill(Pid::from_raw(keeper.pid.cast_signed()), Signal::SIGKILL).ok();
                    self.count("keepers killed");
                }
            }
        }
    }

    /// Sets this at one of these steps.
    fn set(&mut self, wanted: impl Fn(&Point) -> bool, what: &str) -> bool {
        let names: Vec<String> =
            self.names.iter().filter(|point| wanted(point)).map(|point| point.name.clone()).collect();
        let Some(step) = self.random.pick(&names) else { return false };
        self.points.set(step, what);
        self.set.push(step.clone());
        true
    }

    /// The shim of a container by chance.
    fn shim(&mut self, daemon: &Daemon) -> Option<Pid> {
        let shims = daemon.client().shims().ok()?.containers;
        let shims: Vec<u32> = shims
            .iter()
            .filter(|shim| shim.shim_pid > 1 && !self.spared.contains(&shim.container_id))
            .map(|shim| shim.shim_pid)
            .collect();
        let pid = *self.random.pick(&shims)?;
        // The number may have become another's since.
        let name = crate::nursery::process(pid)?.name;
        let is_ours = daemon.nursery().descendants().iter().any(|process| process.pid == pid);
        (is_ours && name.starts_with("taffrail-shim")).then(|| Pid::from_raw(pid.cast_signed()))
    }

    fn shoot(&mut self, daemon: &Daemon, truth: &Truth) {
        if let Some(pid) = self.shim(daemon) {
            truth.shim_killed();
            kill(pid, Signal::SIGKILL).ok();
            self.count("shims killed");
        }
    }

    fn stop(&mut self, daemon: &Daemon) {
        if let Some(pid) = self.shim(daemon) {
            // An explicit stop of its container may kill a shim that does not answer.
            kill(pid, Signal::SIGSTOP).ok();
            let until = Instant::now() + self.random.between(STOPPED.0, STOPPED.1);
            self.stopped.push((pid, until));
            self.count("shims stopped for a while");
        }
    }

    fn let_go(&mut self, now: Instant) {
        self.stopped.retain(|(pid, until)| {
            if *until <= now {
                kill(*pid, Signal::SIGCONT).ok();
            }
            *until > now
        });
    }

    /// A daemon that died by our doing is followed by another; which may die while it starts.
    fn revive(&mut self, daemon: &mut Daemon, truth: &Truth) {
        let ended = |code: i32| {
            if code != KILLED {
                truth.violate(format!("the daemon ended by itself with {code}"));
            }
        };
        if let Some(pid) = daemon.running() {
            let Some(code) = daemon.nursery().ended(pid) else { return };
            ended(code);
            daemon.forget();
        }
        while let Err(code) = daemon.try_launch() {
            ended(code);
        }
    }
}
