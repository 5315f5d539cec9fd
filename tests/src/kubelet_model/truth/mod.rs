//! What must be true, as a plain model: the containers that were asked for, what they were told to do, what was asked
//! of them since, and what the daemon says of them.
//!
//! Owns: the verdicts. Never: asks a daemon; forgives because something was broken on purpose, but for what is counted
//! here.

mod deaths;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use cri_api::v1::{self, ContainerState, PodSandboxState};
use tonic::Status;

pub use self::deaths::{Deaths, ShimDeath};
use super::plan::Plan;

/// How a container ends of which nobody saw the end.
const LOST: i32 = 255;
/// Codes of a container that never came to run.
const NEVER_RAN: [i32; 3] = [126, 127, 128];
/// More are not kept: the first ones tell.
const VIOLATIONS_MAX: usize = 20;

/// One thing that was not true.
pub type Violation = String;

/// The model.
#[derive(Debug, Default)]
pub struct Truth(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    containers: BTreeMap<String, Known>,
    /// Sandboxes that were asked to stop.
    stopped: BTreeSet<String>,
    /// Sandboxes seen ready.
    ready: BTreeSet<String>,
    /// Removed with success: they may not come back.
    removed: BTreeSet<String>,
    /// Idempotent calls, by object, that have succeeded; and how often they failed since.
    done: BTreeMap<String, u32>,
    deaths: Deaths,
    lost: BTreeSet<String>,
    ended: u64,
    violations: Vec<Violation>,
}

#[derive(Debug)]
struct Known {
    plan: Plan,
    /// Somebody asked for its end.
    told: bool,
    started_at: i64,
    exit: Option<i32>,
}

impl Truth {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A container is there.
    pub fn created(&self, id: &str, plan: Plan) {
        let known = Known { plan, told: false, started_at: 0, exit: None };
        self.lock().containers.entry(id.to_owned()).or_insert(known);
    }

    /// Its end is being asked for.
    pub fn told(&self, id: &str) {
        if let Some(known) = self.lock().containers.get_mut(id) {
            known.told = true;
        }
    }

    /// A sandbox's end is being asked for.
    pub fn stopped(&self, id: &str) {
        self.lock().stopped.insert(id.to_owned());
    }

    /// A container or sandbox was removed, with success.
    pub fn removed(&self, id: &str) {
        self.lock().removed.insert(id.to_owned());
    }

    /// Objects that have been removed by now.
    pub fn gone(&self) -> BTreeSet<String> {
        self.lock().removed.clone()
    }

    /// Takes note of deaths, or asks about them.
    pub fn deaths<T>(&self, note: impl FnOnce(&mut Deaths) -> T) -> T {
        note(&mut self.lock().deaths)
    }

    /// An idempotent call of this object ended.
    pub fn idempotent(&self, call: &str, id: &str, failed: Option<&Status>) {
        let mut inner = self.lock();
        let key = format!("{call} {id}");
        let Some(status) = failed else {
            inner.done.insert(key, 0);
            return;
        };
        let Some(failures) = inner.done.get_mut(&key) else { return };
        *failures += 1;
        if *failures >= 2 {
            inner.violate(format!("{key} failed twice after it had succeeded: {status}"));
        }
    }

    /// A call failed.
    pub fn failed(&self, call: &str, status: &Status) {
        if status.message().contains("reserved") {
            self.lock().violate(format!("{call}: {status}"));
        }
    }

    /// A call did not end by its deadline.
    pub fn late(&self, call: &str) {
        self.lock().violate(format!("{call} did not end by its deadline"));
    }

    /// Something else was not true.
    pub fn violate(&self, what: String) {
        self.lock().violate(what);
    }

    /// A list of sandboxes. `gone`: what was removed before it was asked for.
    pub fn see_sandboxes(&self, list: &[v1::PodSandbox], gone: &BTreeSet<String>) {
        let mut inner = self.lock();
        let mut names = BTreeSet::new();
        for sandbox in list {
            let id = &sandbox.id;
            if gone.contains(id) {
                inner.violate(format!("sandbox {id} is listed after its removal"));
            }
            let name = sandbox.metadata.clone().unwrap_or_default();
            // What is left of one whose making failed, and whose removal failed too, is not ready and bears its name still.
            let is_ready = sandbox.state() == PodSandboxState::SandboxReady;
            if is_ready && !names.insert((name.uid.clone(), name.attempt)) {
                inner.violate(format!("two ready sandboxes are {} attempt {}", name.uid, name.attempt));
            }
            if sandbox.state() == PodSandboxState::SandboxReady {
                inner.ready.insert(id.clone());
            } else if inner.ready.contains(id) && !inner.stopped.contains(id) {
                inner.violate(format!("sandbox {id} is not ready, and nobody stopped it"));
            }
        }
    }

    /// A list of containers.
    pub fn see_containers(&self, list: &[v1::Container], gone: &BTreeSet<String>) {
        let mut inner = self.lock();
        let mut names = BTreeSet::new();
        for container in list {
            let id = &container.id;
            if gone.contains(id) {
                inner.violate(format!("container {id} is listed after its removal"));
            }
            let name = container.metadata.clone().unwrap_or_default();
            let is_live = [ContainerState::ContainerCreated, ContainerState::ContainerRunning]
                .contains(&container.state());
            let key = (container.pod_sandbox_id.clone(), name.name.clone(), name.attempt);
            if is_live && !names.insert(key) {
                inner.violate(format!(
                    "two live containers are {} attempt {} of {}",
                    name.name, name.attempt, container.pod_sandbox_id
                ));
            }
        }
    }

    /// The status of one.
    pub fn see(&self, status: &v1::ContainerStatus) {
        let mut inner = self.lock();
        let Some(known) = inner.containers.get_mut(&status.id) else { return };
        let (id, code) = (status.id.clone(), status.exit_code);
        match status.state() {
            ContainerState::ContainerRunning => {
                let before = std::mem::replace(&mut known.started_at, status.started_at);
                let exit = known.exit;
                if before != 0 && before != status.started_at {
                    inner.violate(format!(
                        "container {id} was started again: {before}, {}",
                        status.started_at
                    ));
                }
                if exit.is_some() {
                    inner.violate(format!("container {id} runs after it had exited with {exit:?}"));
                }
            }
            ContainerState::ContainerExited => {
                let ran = status.started_at != 0 || known.started_at != 0;
                let is_told = known.plan.may_end(code, known.told) && ran;
                let never_ran = !ran && (NEVER_RAN.contains(&code) || code == LOST || known.told);
                let before = known.exit.replace(code);
                let plan = known.plan;
                let told = known.told;
                if before.is_some_and(|before| before != code) {
                    inner.violate(format!("container {id} exited with {before:?}, and now with {code}"));
                }
                if before.is_none() {
                    inner.ended += 1;
                }
                // Said once.
                if is_told || never_ran || before.is_some() {
                    return;
                }
                if code == LOST && !status.message.is_empty() {
                    inner.lost.insert(id);
                    return;
                }
                let message = &status.message;
                inner.violate(format!("container {id} ({plan:?}, told {told}) ended with {code}: {message}"));
            }
            ContainerState::ContainerCreated | ContainerState::ContainerUnknown => {}
        }
    }

    /// What was not true, to the end; and how many containers ended, and were lost.
    pub fn verdict(&self) -> (Vec<Violation>, u64, u64) {
        let mut inner = self.lock();
        let unexplained = inner.deaths.unexplained(&inner.lost);
        if !unexplained.is_empty() {
            inner.violate(format!(
                "lost, though their shims did not die together with the keeper: {}",
                unexplained.join(", ")
            ));
        }
        (inner.violations.clone(), inner.ended, inner.lost.len() as u64)
    }
}

impl Inner {
    fn violate(&mut self, what: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(what);
        }
    }
}

#[cfg(test)]
mod tests;
