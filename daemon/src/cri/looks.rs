//! Looks at what containers and pods use, for the four calls that tell it.
//!
//! Owns: the order of reading. Never: fails a whole list for one that went away meanwhile.

use std::sync::Arc;

use cri_api::v1;
use protocol::ids::{ContainerId, SandboxId};

use super::convert::{container_stats, pod_sandbox_stats};
use crate::{
    clock::now_nanos,
    container::{Container, ContainerFacts, Containers, Parts, View, lifecycle::State},
    sandbox::{SandboxFacts, Sharing},
    stats::{Stats, Usage, networks},
    tasks::{Pool, blocking},
};

/// Whether there is a process whose use can be read.
pub(super) fn is_alive(view: &View) -> bool {
    match view.state {
        State::Running | State::Stopping | State::Unknown => true,
        State::Creating
        | State::Created
        | State::Starting
        | State::Exited
        | State::Reclaiming
        | State::Gone => false,
    }
}

/// Each container's use; those whose cgroup went away meanwhile are left out unless `all`.
pub(super) async fn containers(
    parts: &Arc<Parts>,
    stats: &Stats,
    wanted: Vec<Arc<ContainerFacts>>,
    all: bool,
) -> Vec<v1::ContainerStats> {
    let (parts, stats) = (parts.clone(), stats.clone());
    let look = move || {
        let one = |facts: &Arc<ContainerFacts>| {
            let (usage, told) = container(&parts, &stats, facts);
            (usage.is_some() || all).then_some(told)
        };
        wanted.iter().filter_map(one).collect()
    };
    blocking(Pool::Disk, look).await
}

fn container(parts: &Parts, stats: &Stats, facts: &ContainerFacts) -> (Option<Usage>, v1::ContainerStats) {
    let usage = ContainerId::parse(&facts.id).ok().and_then(|id| {
        let folders = parts.cgroups.stat_folders(&facts.cgroup_parent, &id);
        let usage = stats.usage(&facts.id, &folders);
        usage.inspect_err(|error| tracing::warn!(id = %facts.id, %error, "its use cannot be read")).ok()?
    });
    let disk = stats.disk(&facts.id, &parts.snapshots.writable(&facts.id));
    let told = container_stats(facts, usage.as_ref(), disk, parts.layout.root());
    (usage, told)
}

/// Each pod's use, with its containers'.
pub(super) async fn pods(
    all: &Containers,
    stats: &Stats,
    wanted: Vec<Arc<SandboxFacts>>,
) -> Vec<v1::PodSandboxStats> {
    let alive: Vec<Container> =
        all.list().into_iter().filter(|(_, view)| is_alive(view)).map(|(container, _)| container).collect();
    let (parts, stats) = (all.parts().clone(), stats.clone());
    let look = move || {
        let pins: Vec<_> = wanted
            .iter()
            .map(|pod| match SandboxId::parse(&pod.id) {
                Ok(id) if pod.config.network != Sharing::Node => parts.layout.net_pin(&id),
                // No namespace of its own: a path that is not there gives no interfaces.
                _ => std::path::PathBuf::new(),
            })
            .collect();
        let seen = networks(&pins);
        let one = |(pod, interfaces): (&Arc<SandboxFacts>, &Vec<_>)| {
            let mine = alive.iter().filter(|container| container.facts.sandbox_id == pod.id);
            let looks: Vec<_> = mine.map(|c| container(&parts, &stats, &c.facts)).collect();
            let usage = pod_usage(&parts, &stats, pod, &looks);
            let told = looks.into_iter().map(|(_, told)| told).collect();
            pod_sandbox_stats(pod, usage.as_ref(), interfaces, told, now_nanos())
        };
        wanted.iter().zip(&seen).map(one).collect()
    };
    blocking(Pool::Disk, look).await
}

/// The pod's own cgroup, which the kubelet makes and names; a pod without one shares the daemon's default
/// parent with others, so its containers are added up.
fn pod_usage(
    parts: &Parts,
    stats: &Stats,
    pod: &SandboxFacts,
    containers: &[(Option<Usage>, v1::ContainerStats)],
) -> Option<Usage> {
    let parent = &pod.config.cgroup_parent;
    if parent.is_empty() {
        let all = containers.iter().filter_map(|(usage, _)| usage.clone());
        return all.reduce(|sum, usage| sum.plus(&usage));
    }
    stats.usage(&Stats::pod_key(&pod.id), &parts.cgroups.parent_stat_folders(parent)).ok().flatten()
}
