//! Who died of what chaos did, and when: what the model is told of it. A death that was set at a step counts when the
//! step was hit.
//!
//! Owns: the steps that wait for a hit, and the watch over the keeper. Never: kills.

use std::time::{Duration, Instant};

use cri_api::control::{ContainerShim, StatusResponse};

use crate::{
    daemon::Daemon,
    failpoints::Failpoints,
    kubelet_model::{ShimDeath, Truth},
};

/// The keeper's process.
pub(super) const KEEPER: &str = "taffrail-keeper";
/// Begin of the names of the keeper's own steps.
pub(super) const KEEPER_STEPS: &str = "keeper.";
/// Between two looks at the keeper: they read all of /proc.
const LOOK: Duration = Duration::from_millis(200);
/// What the daemon says when it kills one itself.
const SILENT: &str = "keeper that does not answer is killed";

/// The watch.
#[derive(Debug)]
pub(super) struct Toll {
    /// Steps at which somebody is set to die, that were not hit yet.
    armed: Vec<String>,
    looked: Instant,
    keeper: Option<u32>,
    keeper_looked: Instant,
    /// Keepers that the daemon killed.
    silent: usize,
    /// The keeper is stopped: who asks the daemon about it waits.
    is_stopped: bool,
    /// As they were when that was last asked.
    shims: Vec<ContainerShim>,
}

impl Toll {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let (armed, shims) = Default::default();
        Self { armed, looked: now, keeper: None, keeper_looked: now, silent: 0, is_stopped: false, shims }
    }

    /// The keeper's process.
    pub(super) fn keeper(daemon: &Daemon) -> Option<u32> {
        let all = daemon.nursery().descendants();
        all.into_iter().find(|process| process.name == KEEPER && process.state != 'Z').map(|it| it.pid)
    }

    /// What is known of the shims; asked for now where nobody has to wait for the answer.
    pub(super) fn shims(&mut self, daemon: &Daemon) -> &[ContainerShim] {
        if !self.is_stopped
            && let Ok(status) = daemon.client().shims()
        {
            self.shims = status.containers;
        }
        &self.shims
    }

    /// The keeper was killed or is stopped.
    pub(super) fn keeper_down(&mut self, truth: &Truth, is_stopped: bool) {
        self.is_stopped = is_stopped;
        truth.deaths(|deaths| deaths.keeper_from(Instant::now()));
    }

    /// The stopped keeper goes on.
    pub(super) fn keeper_goes_on(&mut self) {
        self.is_stopped = false;
    }

    /// This step is set to something: to somebody's death, or to something else.
    pub(super) fn set(&mut self, points: &Failpoints, truth: &Truth, (step, is_death): (&str, bool)) {
        self.count_hits(points, truth);
        self.armed.retain(|armed| armed != step);
        if is_death && (step.starts_with("supervise.") || step.starts_with(KEEPER_STEPS)) {
            self.armed.push(step.to_owned());
        }
    }

    /// Nothing that was set happens any more.
    pub(super) fn disarm(&mut self, points: &Failpoints, truth: &Truth) {
        self.count_hits(points, truth);
        self.armed.clear();
    }

    /// Looks who has died since.
    pub(super) fn look(&mut self, daemon: &Daemon, points: &Failpoints, truth: &Truth) {
        self.count_hits(points, truth);
        let now = Instant::now();
        if daemon.running().is_none() || now < self.keeper_looked + LOOK {
            return;
        }
        let present = Self::keeper(daemon);
        let (before, looked) = (std::mem::replace(&mut self.keeper, present), self.keeper_looked);
        self.keeper_looked = now;
        let is_open = truth.deaths(|deaths| deaths.is_open());
        if !is_open && before.is_some() && before != present {
            let silent = daemon.log().matches(SILENT).count();
            if silent == self.silent {
                truth.violate(format!("the keeper {before:?} is gone, and nobody killed it"));
            }
            self.silent = silent;
            truth.deaths(|deaths| deaths.keeper_from(looked));
        } else if is_open
            && !self.is_stopped
            && let (Some(present), Ok(status)) = (present, daemon.client().shims())
        {
            if keeps_all(present, &status) {
                truth.deaths(|deaths| deaths.keeper_again(now));
                self.silent = daemon.log().matches(SILENT).count();
            }
            self.shims = status.containers;
        }
    }

    fn count_hits(&mut self, points: &Failpoints, truth: &Truth) {
        let (from, to) = (std::mem::replace(&mut self.looked, Instant::now()), Instant::now());
        self.armed.retain(|step| {
            let is_hit = points.hits(step) > 0;
            if is_hit {
                truth.deaths(|deaths| match step.starts_with(KEEPER_STEPS) {
                    true => deaths.keeper_from(from),
                    false => deaths.shim(ShimDeath { container: None, kept: true, from, to }),
                });
            }
            !is_hit
        });
    }
}

/// Whether this keeper would replace the shim of every container that runs.
fn keeps_all(keeper: u32, status: &StatusResponse) -> bool {
    let is_kept = |shim: &ContainerShim| match shim.state.as_str() {
        "running" => shim.kept,
        "unknown" => false,
        _ => true,
    };
    status.keeper_pid == keeper && status.containers.iter().all(is_kept)
}
