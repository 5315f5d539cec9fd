//! The node: so many pods at once, each followed by another one, and the look at all of them each second.
//!
//! Owns: the tasks. Never: what a pod does.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use cri_api::v1;
use tokio::{task::JoinHandle, time::Instant};

use super::{Caller, Violation, caller::call, clock, pod::Pod};
use crate::{
    client::{CriClient, executor},
    random::Random,
};

/// The kubelet's relist.
const RELIST: Duration = Duration::from_secs(1);
/// How long a list may take.
const LIST: Duration = Duration::from_secs(10);
/// How long a pod lives before it is taken down.
const LIFE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// How long all pods may take to be gone when nothing is broken any more.
const CALM: Duration = Duration::from_secs(90);

/// How busy the node is.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Pods at once.
    pub pods: usize,
    /// Percent of calls that are given up.
    pub fickle: u64,
    /// Where all choices come from.
    pub seed: u64,
    /// Where the pods' logs go.
    pub logs: PathBuf,
}

/// A kubelet at work.
#[derive(Debug)]
pub struct Node {
    /// Its calls, and what must be true.
    pub caller: Arc<Caller>,
    tasks: Vec<JoinHandle<()>>,
    relist: JoinHandle<()>,
    state: Arc<State>,
}

/// What the tasks share.
#[derive(Debug, Default)]
struct State {
    ending: AtomicBool,
    /// The time for an orderly end is over.
    late: AtomicBool,
    relisted: AtomicBool,
    pods: AtomicU64,
}

/// What became of it.
#[derive(Debug)]
pub struct Summary {
    /// Pods that lived and are gone.
    pub pods: u64,
    /// Containers seen to end.
    pub ended: u64,
    /// Containers lost with their shim.
    pub lost: u64,
    /// Calls made, given up, and refused.
    pub calls: (u64, u64, u64),
    /// What was not true.
    pub violations: Vec<Violation>,
}

impl Node {
    /// Begins with the pods.
    pub fn start(client: CriClient, pace: &Pace) -> Self {
        let caller = Arc::new(Caller::new(client, pace.fickle, pace.seed));
        let state = Arc::new(State::default());
        let tasks = (0..pace.pods).map(|slot| {
            let work = slots(slot, caller.clone(), state.clone(), pace.clone());
            executor().spawn(work)
        });
        let tasks = tasks.collect();
        let relist = executor().spawn(relist(caller.clone(), state.clone()));
        Self { caller, tasks, relist, state }
    }

    /// Takes all pods down. Nothing may be broken any more.
    pub fn end(self) -> Summary {
        self.caller.is_patient();
        self.state.ending.store(true, Ordering::Relaxed);
        let state = self.state.clone();
        executor().spawn(async move {
            clock::pass(CALM).await;
            state.late.store(true, Ordering::Relaxed);
        });
        executor().block_on(async {
            for task in self.tasks {
                // A task that panicked has said so itself.
                if task.await.is_err() {
                    self.caller.truth.violate("a pod's loop ended by a panic".to_owned());
                }
            }
            self.state.relisted.store(true, Ordering::Relaxed);
            self.relist.await.ok();
        });
        let (violations, ended, lost) = self.caller.truth.verdict();
        let pods = self.state.pods.load(Ordering::Relaxed);
        Summary { pods, ended, lost, calls: self.caller.counts(), violations }
    }
}

/// One pod after the other.
async fn slots(slot: usize, caller: Arc<Caller>, state: Arc<State>, pace: Pace) {
    let mut random = Random::new(pace.seed.wrapping_mul(31).wrapping_add(slot as u64));
    let mut nr = 0;
    while !state.ending.load(Ordering::Relaxed) {
        let name = format!("pod{slot}-{nr}");
        nr += 1;
        let pod = Pod::new(&name, &pace, Random::new(random.number()));
        let end = Instant::now() + random.between(LIFE.0, LIFE.1);
        let is_over = || Instant::now() >= end || state.ending.load(Ordering::Relaxed);
        match pod.live(&caller, is_over, || state.late.load(Ordering::Relaxed)).await {
            Ok(()) => {
                state.pods.fetch_add(1, Ordering::Relaxed);
            }
            Err(why) => {
                caller.truth.violate(format!("{name} is not gone {CALM:?} after all faults ended: {why}"));
            }
        }
    }
}

/// Looks at everything each second.
async fn relist(caller: Arc<Caller>, state: Arc<State>) {
    while !state.relisted.load(Ordering::Relaxed) {
        look(&caller).await;
        clock::pass(RELIST).await;
    }
}

async fn look(caller: &Arc<Caller>) {
    let gone: BTreeSet<String> = caller.truth.gone();
    if let Ok(list) = call!(caller, list_pod_sandbox, LIST, v1::ListPodSandboxRequest::default()).await {
        caller.truth.see_sandboxes(&list.items, &gone);
    }
    if let Ok(list) = call!(caller, list_containers, LIST, v1::ListContainersRequest::default()).await {
        caller.truth.see_containers(&list.containers, &gone);
    }
}
