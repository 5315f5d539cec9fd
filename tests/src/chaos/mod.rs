//! Faults at random: deaths of the daemon, of shims and of the keeper, steps that fail or take long, shims that are
//! stopped for a while. What it breaks it counts; what it stops it lets go on.
//!
//! Owns: the choice of the next fault. Never: judges what comes of it.

mod toll;

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
    kubelet_model::{ShimDeath, Truth},
    random::Random,
};
use toll::{KEEPER_STEPS, Toll};

/// Between two faults.
const PEACE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(700));
/// How long a step takes that is held up, in milliseconds: beyond a caller's patience, within its deadline.
const HOLD_UP: (u64, u64) = (50, 1500);
/// How long a shim is stopped: beyond the daemon's patience with one, within a call's deadline.
const STOPPED: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(4));
/// How long the keeper is stopped: within the daemon's patience with it, or beyond.
const KEEPER_STOPPED: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(8));
/// After the last of a keeper's deaths, how soon the next one must keep every shim: one that is stopped meanwhile, and
/// several steps that are held up.
const KEPT: Duration = Duration::from_secs(30);
/// Steps that are hit by more than what the model made, or only while a daemon starts.
const SPARED: [&str; 2] = ["recover.begin", "supervise.greeted"];
/// SIGKILL, as a shell counts.
const KILLED: i32 = 137;

/// What may be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Everything,
    /// All but the daemon's process, so that its memory can be watched.
    SparesTheDaemon,
    /// All but the daemon's process and the keeper's: no container may be lost.
    SparesTheKeeper,
}

/// The faults so far, and what is needed for more.
#[derive(Debug)]
pub struct Chaos {
    points: Failpoints,
    names: Vec<Point>,
    random: Random,
    counts: BTreeMap<&'static str, u64>,
    toll: Toll,
    /// Stopped shims, and until when.
    stopped: Vec<(Pid, Instant)>,
    /// The stopped keeper, and until when.
    stopped_keeper: Option<(Pid, Instant)>,
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
            toll: Toll::new(),
            stopped: Vec::new(),
            stopped_keeper: None,
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
                self.toll.look(daemon, &self.points, truth);
                None::<()>
            });
            self.fault(daemon, truth, scope);
            self.revive(daemon, truth);
            look(daemon);
        }
    }

    /// Nothing that was set happens any more, and a daemon serves.
    pub fn calm(&mut self, daemon: &mut Daemon, truth: &Truth) {
        self.toll.disarm(&self.points, truth);
        for step in std::mem::take(&mut self.set) {
            self.points.clear(&step);
        }
        self.revive(daemon, truth);
    }

    /// No more faults: everything that was set is cleared, what was stopped goes on, and a daemon serves.
    pub fn end(&mut self, daemon: &mut Daemon, truth: &Truth) -> String {
        self.calm(daemon, truth);
        self.wake_keeper();
        for (pid, _) in std::mem::take(&mut self.stopped) {
            // It may have been killed meanwhile.
            kill(pid, Signal::SIGCONT).ok();
        }
        let counts = self.counts.iter().map(|(what, count)| format!("{count} {what}"));
        counts.collect::<Vec<_>>().join(", ")
    }

    /// Waits until a keeper keeps every shim.
    pub fn until_kept(&mut self, daemon: &mut Daemon, truth: &Truth) {
        self.calm(daemon, truth);
        self.wake_keeper();
        let kept = within(KEPT, || {
            self.let_go(Instant::now());
            self.toll.look(daemon, &self.points, truth);
            (!truth.deaths(|deaths| deaths.is_open())).then_some(())
        });
        if kept.is_none() {
            truth.violate(format!("not every shim has a keeper {KEPT:?} after the last death of one"));
        }
    }

    fn wake_keeper(&mut self) {
        if let Some((pid, _)) = self.stopped_keeper.take() {
            // The daemon may have killed it meanwhile.
            kill(pid, Signal::SIGCONT).ok();
            self.toll.keeper_goes_on();
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn fault(&mut self, daemon: &mut Daemon, truth: &Truth, scope: Scope) {
        let keeper_too = scope != Scope::SparesTheKeeper;
        match self.random.below(20) {
            0 if scope == Scope::Everything => {
                daemon.kill9();
                self.count("daemons killed");
            }
            1..3 if scope == Scope::Everything => {
                let is_daemons = |point: &Point| !is_shims(point) && !point.name.starts_with(KEEPER_STEPS);
                if self.set(truth, is_daemons, "kill@1") {
                    self.count("daemons set to die at a step");
                }
            }
            0..8 => {
                if self.set(truth, |point| point.fails, "fail@1") {
                    self.count("steps set to fail");
                }
            }
            8..13 => {
                let ms = HOLD_UP.0 + self.random.below(HOLD_UP.1 - HOLD_UP.0);
                if self.set(truth, |_| true, &format!("delay({ms})@1")) {
                    self.count("steps set to take long");
                }
            }
            13..15 => self.shoot(daemon, truth),
            15..17 => {
                if self.set(truth, is_shims, "kill@1") {
                    self.count("shims set to die at a step");
                }
            }
            17 if keeper_too => self.stop_keeper(daemon, truth),
            18 if keeper_too && self.random.percent(50) => {
                if self.set(truth, |point| point.name.starts_with(KEEPER_STEPS), "kill@1") {
                    self.count("keepers set to die at a step");
                }
            }
            19 if keeper_too => {
                if let Some(keeper) = Toll::keeper(daemon) {
                    self.toll.keeper_down(truth, false);
                    kill(Pid::from_raw(keeper.cast_signed()), Signal::SIGKILL).ok();
                    self.count("keepers killed");
                }
            }
            _ => self.stop(daemon),
        }
    }

    /// Sets this at one of these steps.
    fn set(&mut self, truth: &Truth, wanted: impl Fn(&Point) -> bool, what: &str) -> bool {
        let names: Vec<String> =
            self.names.iter().filter(|point| wanted(point)).map(|point| point.name.clone()).collect();
        let Some(step) = self.random.pick(&names) else { return false };
        self.toll.set(&self.points, truth, (step, what.starts_with("kill")));
        self.points.set(step, what);
        self.set.push(step.clone());
        true
    }

    /// The shim of a container by chance: its process, whose it is, and whether the keeper would replace it.
    fn shim(&mut self, daemon: &Daemon) -> Option<(Pid, String, bool)> {
        let shims = self.toll.shims(daemon).to_vec();
        let shims: Vec<_> =
            shims.iter().filter(|s| s.shim_pid > 1 && !self.spared.contains(&s.container_id)).collect();
        let shim = *self.random.pick(&shims)?;
        // The number may have become another's since.
        let name = crate::nursery::process(shim.shim_pid)?.name;
        let is_ours = daemon.nursery().descendants().iter().any(|process| process.pid == shim.shim_pid);
        let pid = Pid::from_raw(shim.shim_pid.cast_signed());
        (is_ours && name.starts_with("taffrail-shim")).then(|| (pid, shim.container_id.clone(), shim.kept))
    }

    fn shoot(&mut self, daemon: &Daemon, truth: &Truth) {
        if let Some((pid, container, kept)) = self.shim(daemon) {
            let now = Instant::now();
            let death = ShimDeath { container: Some(container), kept, from: now, to: now };
            truth.deaths(|deaths| deaths.shim(death));
            kill(pid, Signal::SIGKILL).ok();
            self.count("shims killed");
        }
    }

    fn stop(&mut self, daemon: &Daemon) {
        if let Some((pid, ..)) = self.shim(daemon) {
            // An explicit stop of its container may kill a shim that does not answer.
            kill(pid, Signal::SIGSTOP).ok();
            let until = Instant::now() + self.random.between(STOPPED.0, STOPPED.1);
            self.stopped.push((pid, until));
            self.count("shims stopped for a while");
        }
    }

    fn stop_keeper(&mut self, daemon: &Daemon, truth: &Truth) {
        if self.stopped_keeper.is_some() {
            return;
        }
        if let Some(keeper) = Toll::keeper(daemon) {
            self.toll.keeper_down(truth, true);
            let keeper = Pid::from_raw(keeper.cast_signed());
            kill(keeper, Signal::SIGSTOP).ok();
            let until = Instant::now() + self.random.between(KEEPER_STOPPED.0, KEEPER_STOPPED.1);
            self.stopped_keeper = Some((keeper, until));
            self.count("keepers stopped for a while");
        }
    }

    fn let_go(&mut self, now: Instant) {
        self.stopped.retain(|(pid, until)| {
            if *until <= now {
                kill(*pid, Signal::SIGCONT).ok();
            }
            *until > now
        });
        if self.stopped_keeper.is_some_and(|(_, until)| until <= now) {
            self.wake_keeper();
        }
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

fn is_shims(point: &Point) -> bool {
    point.name.starts_with("supervise.")
}
