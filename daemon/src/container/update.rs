//! The update procedure: new limits for a container, all or nothing.
//!
//! A container that runs is told by its runtime, and told back when something fails; one that was never started
//! takes the limits at its start. The record is written last. Owns: the order of steps. Never: policy.

use std::sync::Arc;

use protocol::ids::ContainerId;

use super::{
    ContainerError, ContainerFacts, Parts, Resources, View, ending::Ending, lifecycle::State, oom_score,
    runtime_command::run,
};
use crate::{
    oci::spec,
    stats,
    steps::attempt,
    store,
    tasks::{Pool, blocking, limited},
};

pub(super) async fn update(
    facts: Arc<ContainerFacts>,
    parts: Arc<Parts>,
    view: View,
    asked: Resources,
) -> Ending {
    let before = view.resources.clone();
    let after = before.updated(&asked);
    let alive = match view.state {
        State::Running | State::Stopping => true,
        State::Creating
        | State::Created
        | State::Starting
        | State::Unknown
        | State::Exited
        | State::Reclaiming
        | State::Gone => false,
    };
    Ending::updated(make(&facts, &parts, alive, &before, after).await)
}

async fn make(
    facts: &Arc<ContainerFacts>,
    parts: &Arc<Parts>,
    alive: bool,
    before: &Resources,
    after: Resources,
) -> Result<Resources, ContainerError> {
    let id = ContainerId::parse(&facts.id).map_err(|e| ContainerError::step(&facts.id, "id", e))?;
    if alive {
        if after.memory_limit > 0 && after.memory_limit != before.memory_limit {
            fits(facts, parts, &id, after.memory_limit).await?;
        }
        if let Err(error) = apply(facts, parts, &id, before, &after).await {
            put_back(facts, parts, &id, before, &after).await;
            return Err(ContainerError::step(&facts.id, "runtime.update", error));
        }
    }
    let recorded = {
        let (record, after) = (parts.layout.container_resources(&id), after.clone());
        attempt("container.resources", blocking(Pool::Disk, move || store::replace_json(&record, &after)))
            .await
    };
    if let Err(error) = recorded {
        if alive {
            put_back(facts, parts, &id, before, &after).await;
        }
        let error = format!("the new limits cannot be recorded: {error}");
        return Err(ContainerError::step(&facts.id, "container.resources", error));
    }
    Ok(after)
}

/// Refuses a memory limit below what is in use: v1 would refuse it, v2 would kill for it.
async fn fits(
    facts: &Arc<ContainerFacts>,
    parts: &Arc<Parts>,
    id: &ContainerId,
    limit: i64,
) -> Result<(), ContainerError> {
    let folders = parts.cgroups.stat_folders(&facts.cgroup_parent, id);
    let usage = blocking(Pool::Disk, move || stats::look(&folders)).await;
    // What the kernel can drop is no obstacle: file pages are not counted.
    let in_use = usage.ok().flatten().map_or(0, |usage| usage.memory.rss);
    if u64::try_from(limit).is_ok_and(|limit| limit < in_use) {
        return Err(ContainerError::Refused {
            id: facts.id.clone(),
            message: format!("memory limit ({limit}) below current usage ({in_use})"),
        });
    }
    Ok(())
}

/// Tells the runtime, and the processes their scores.
async fn apply(
    facts: &Arc<ContainerFacts>,
    parts: &Arc<Parts>,
    id: &ContainerId,
    before: &Resources,
    resources: &Resources,
) -> Result<(), String> {
    let runtime = parts.handlers.get(&facts.runtime).map_err(|e| e.to_string())?;
    let run_dir = parts.layout.run_dir(id);
    let file = run_dir.path().join("update.json");
    {
        let (file, limits) = (file.clone(), spec::limits(resources, &parts.host));
        let write = move || store::replace_json(&file, &limits);
        blocking(Pool::Disk, write).await.map_err(|e| format!("the runtime's file of limits: {e}"))?;
    }
    let command = runtime.update(&run_dir, id, &file);
    attempt("runtime.update", limited(Pool::Runtime, run(command, "update"))).await?;
    let score = resources.oom_score_adj;
    if score == before.oom_score_adj {
        // Some of its processes may have set their own meanwhile.
        return Ok(());
    }
    let (facts, parts, id) = (facts.clone(), parts.clone(), id.clone());
    blocking(Pool::Disk, move || {
        let members = parts.cgroups.members(&facts.cgroup_parent, &id);
        oom_score::write(&members, score.max(parts.host.least_oom_score_adj))
    })
    .await
    .map_err(|e| format!("oom_score_adj {score}: {e}"))
}

async fn put_back(
    facts: &Arc<ContainerFacts>,
    parts: &Arc<Parts>,
    id: &ContainerId,
    before: &Resources,
    after: &Resources,
) {
    if let Err(error) = apply(facts, parts, id, after, &before.over(after)).await {
        tracing::error!(id = %facts.id, %error, "limits of a failed update cannot be put back");
    }
}
