//! One pod and its sync loop: looks at what is there, does one thing about it, and comes again.
//!
//! Owns: what it wants of its pod. Never: remembers what is there; it asks.

use std::{sync::Arc, time::Duration};

use super::{Caller, Failed, Pace, Plan, caller::call, clock};
use crate::{ask, image_file::DEMO, random::Random};
use cri_api::v1::{self, ContainerState, PodSandboxState};

/// Deadlines by kind of call, shorter than a kubelet's two minutes, so that a run of a minute sees them pass.
const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(30);
/// Between two looks of a pod's loop: a kubelet waits for events, or for a second.
const LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(300));
/// How often a container that has ended is started again.
const RESTARTS: u32 = 2;
/// Graces in seconds that its containers are given.
const GRACES: u64 = 3;
/// Containers of a pod at most.
const CONTAINERS: u64 = 3;

/// What a pod is told.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    config: v1::PodSandboxConfig,
    plans: Vec<(String, Plan)>,
    random: Random,
}

/// What one look led to.
enum Look {
    /// There is more to do.
    Again,
    /// Nothing is left of it.
    Gone,
}

type Done<T> = Result<T, Failed>;

impl Pod {
    /// One of this name, with plans by chance.
    pub(super) fn new(name: &str, pace: &Pace, mut random: Random) -> Self {
        let mut config = ask::pod(name, &pace.logs);
        if random.percent(30) {
            let shared = v1::NamespaceOption { pid: v1::NamespaceMode::Pod as i32, ..Default::default() };
            let linux = config.linux.get_or_insert_default();
            linux.security_context.get_or_insert_default().namespace_options = Some(shared);
        }
        let count = random.below(CONTAINERS) + 1;
        let plans = (0..count).map(|nr| (format!("c{nr}"), Plan::random(&mut random))).collect();
        Self { config, plans, random }
    }

    /// Lives until its time is over, is then taken down. Fails with what kept it, where it was not gone in time.
    pub(super) async fn live(
        mut self,
        caller: &Arc<Caller>,
        is_over: impl Fn() -> bool,
        is_late: impl Fn() -> bool,
    ) -> Result<(), String> {
        loop {
            let look = if is_over() { self.take_down(caller).await } else { self.sync(caller).await };
            if matches!(look, Ok(Look::Gone)) {
                return Ok(());
            }
            if is_late() {
                return Err(match look {
                    Err(Failed::Refused(status)) => format!("the last refusal: {status}"),
                    Err(Failed::GivenUp) => "the last call was given up".to_owned(),
                    Ok(_) => "nothing was refused".to_owned(),
                });
            }
            clock::pass(self.random.between(LOOK.0, LOOK.1)).await;
        }
    }

    /// As the kubelet's SyncPod: a ready sandbox, and in it each container as its plan wants it.
    async fn sync(&mut self, caller: &Arc<Caller>) -> Done<Look> {
        let sandboxes = self.sandboxes(caller).await?;
        let newest = sandboxes.iter().filter_map(|s| s.metadata.as_ref()).map(|m| m.attempt).max();
        let ready = sandboxes.iter().find(|s| s.state() == PodSandboxState::SandboxReady);
        let Some(sandbox) = ready else {
            for old in &sandboxes {
                self.stop_sandbox(caller, &old.id).await?;
            }
            let mut config = self.config.clone();
            config.metadata.get_or_insert_default().attempt = newest.map_or(0, |attempt| attempt + 1);
            call!(caller, run_pod_sandbox, LONG, ask::run(&config)).await?;
            return Ok(Look::Again);
        };
        for old in sandboxes.iter().filter(|s| s.id != sandbox.id) {
            self.remove_sandbox(caller, &old.id).await?;
        }
        let containers = self.containers(caller, &sandbox.id).await?;
        for (name, plan) in self.plans.clone() {
            self.tend(caller, &sandbox.id, (&name, plan), &containers).await?;
        }
        Ok(Look::Again)
    }

    /// One container: created, started, probed, replaced when it has ended.
    async fn tend(
        &mut self,
        caller: &Arc<Caller>,
        sandbox: &str,
        (name, plan): (&str, Plan),
        all: &[v1::Container],
    ) -> Done<()> {
        let attempt = |c: &v1::Container| c.metadata.as_ref().map_or(0, |m| m.attempt);
        let mine = all.iter().filter(|c| c.metadata.as_ref().is_some_and(|m| m.name == name));
        let Some(newest) = mine.clone().max_by_key(|c| attempt(c)) else {
            return self.create(caller, sandbox, (name, plan), 0).await;
        };
        // Of the ended ones the newest two are kept, as a kubelet does.
        for old in mine.filter(|c| attempt(c) + 1 < attempt(newest)) {
            self.remove(caller, &old.id).await?;
        }
        match newest.state() {
            ContainerState::ContainerCreated if self.random.percent(90) => {
                call!(caller, start_container, LONG, ask::start(&newest.id)).await.map(drop)
            }
            // A kubelet that has forgotten what it was about to do makes the next attempt.
            ContainerState::ContainerCreated => {
                self.stop(caller, &newest.id, 0).await?;
                self.create(caller, sandbox, (name, plan), attempt(newest) + 1).await
            }
            ContainerState::ContainerRunning => self.probe(caller, &newest.id).await,
            ContainerState::ContainerExited => {
                self.look(caller, &newest.id).await?;
                if attempt(newest) < RESTARTS || !plan.ends() {
                    return self.create(caller, sandbox, (name, plan), attempt(newest) + 1).await;
                }
                Ok(())
            }
            ContainerState::ContainerUnknown => Ok(()),
        }
    }

    async fn create(
        &self,
        caller: &Arc<Caller>,
        sandbox: &str,
        (name, plan): (&str, Plan),
        attempt: u32,
    ) -> Done<()> {
        let args = plan.args();
        let mut config = ask::container(name, DEMO, &args.iter().map(String::as_str).collect::<Vec<_>>());
        config.metadata.get_or_insert_default().attempt = attempt;
        if plan == Plan::Broken {
            config.command = vec!["/nothing".to_owned()];
        }
        let request = ask::create(sandbox, &config, &self.config);
        let created = call!(caller, create_container, LONG, request).await?;
        caller.truth.created(&created.container_id, plan);
        Ok(())
    }

    /// Its status, an exec, new limits: what a kubelet does with a running one.
    async fn probe(&mut self, caller: &Arc<Caller>, id: &str) -> Done<()> {
        self.look(caller, id).await?;
        match self.random.below(12) {
            0 => {
                let request = ask::exec(id, &["/demo", "true"], 5);
                call!(caller, exec_sync, SHORT, request).await.map(drop)
            }
            1 => {
                let request = v1::ReopenContainerLogRequest { container_id: id.to_owned() };
                call!(caller, reopen_container_log, SHORT, request).await.map(drop)
            }
            2 => {
                let limits = v1::LinuxContainerResources {
                    cpu_shares: i64::try_from(self.random.below(1000) + 2).unwrap_or(2),
                    ..Default::default()
                };
                call!(caller, update_container_resources, LONG, ask::update(id, limits)).await.map(drop)
            }
            // A liveness probe that failed: it is stopped, and made again.
            3 => {
                let grace = self.grace();
                self.stop(caller, id, grace).await
            }
            _ => Ok(()),
        }
    }

    fn grace(&mut self) -> i64 {
        i64::try_from(self.random.below(GRACES)).unwrap_or(0)
    }

    async fn look(&self, caller: &Arc<Caller>, id: &str) -> Done<()> {
        let answer = call!(caller, container_status, SHORT, ask::status(id)).await?;
        if let Some(status) = answer.status {
            caller.truth.see(&status);
        }
        Ok(())
    }

    async fn stop(&self, caller: &Arc<Caller>, id: &str, grace: i64) -> Done<()> {
        caller.truth.told(id);
        let answer = call!(caller, stop_container, LONG, ask::stop(id, grace)).await;
        caller.idempotent("stop_container", id, &answer);
        answer.map(drop)
    }

    async fn remove(&self, caller: &Arc<Caller>, id: &str) -> Done<()> {
        self.look(caller, id).await.ok();
        caller.truth.told(id);
        let answer = call!(caller, remove_container, LONG, ask::remove(id)).await;
        caller.idempotent("remove_container", id, &answer);
        answer.map(|_| caller.truth.removed(id))
    }

    async fn stop_sandbox(&self, caller: &Arc<Caller>, id: &str) -> Done<()> {
        for container in self.containers(caller, id).await? {
            caller.truth.told(&container.id);
        }
        caller.truth.stopped(id);
        let answer = call!(caller, stop_pod_sandbox, LONG, ask::stop_pod(id)).await;
        caller.idempotent("stop_pod_sandbox", id, &answer);
        answer.map(drop)
    }

    async fn remove_sandbox(&self, caller: &Arc<Caller>, id: &str) -> Done<()> {
        self.stop_sandbox(caller, id).await?;
        for container in self.containers(caller, id).await? {
            self.remove(caller, &container.id).await?;
        }
        let answer = call!(caller, remove_pod_sandbox, LONG, ask::remove_pod(id)).await;
        caller.idempotent("remove_pod_sandbox", id, &answer);
        answer.map(|_| caller.truth.removed(id))
    }

    /// As a kubelet ends a pod: its containers with their grace, the sandbox, and then the garbage.
    async fn take_down(&mut self, caller: &Arc<Caller>) -> Done<Look> {
        let sandboxes = self.sandboxes(caller).await?;
        for sandbox in &sandboxes {
            for container in self.containers(caller, &sandbox.id).await? {
                if container.state() == ContainerState::ContainerRunning {
                    let grace = self.grace();
                    self.stop(caller, &container.id, grace).await?;
                    self.look(caller, &container.id).await?;
                }
            }
            self.remove_sandbox(caller, &sandbox.id).await?;
        }
        Ok(if sandboxes.is_empty() { Look::Gone } else { Look::Again })
    }

    async fn sandboxes(&self, caller: &Arc<Caller>) -> Done<Vec<v1::PodSandbox>> {
        let filter =
            v1::PodSandboxFilter { label_selector: self.config.labels.clone(), ..Default::default() };
        let request = v1::ListPodSandboxRequest { filter: Some(filter) };
        Ok(call!(caller, list_pod_sandbox, SHORT, request).await?.items)
    }

    async fn containers(&self, caller: &Arc<Caller>, sandbox: &str) -> Done<Vec<v1::Container>> {
        let filter = v1::ContainerFilter { pod_sandbox_id: sandbox.to_owned(), ..Default::default() };
        let request = v1::ListContainersRequest { filter: Some(filter) };
        Ok(call!(caller, list_containers, SHORT, request).await?.containers)
    }
}
