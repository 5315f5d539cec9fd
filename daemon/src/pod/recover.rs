//! Recovery: every sandbox and container from disk and shims, before the socket opens.
//!
//! Two questions per container: does its shim answer, and is there an exit record? Owns: what a former
//! daemon's leavings mean. Never: kills what may still be supervised.

use std::{io, path::Path, sync::Arc};

use protocol::{
    exit_record::ExitRecord,
    ids::{ContainerId, SandboxId},
    shim::Phase,
};

use super::{
    follow,
    patience::{Patience, Waits},
    records::{self, Facts, made_at},
};
use crate::{
    cgroups::Cgroups,
    container::{self, Adopted, ContainerFacts, Containers, Resources, User, record_lost},
    layout::Layout,
    sandbox::{self, PodInit, SandboxFacts, Sandboxes, lifecycle::State},
    shims::{Condition, Stray, end_strays, inspect, read_exit_record},
    steps::{attempt, reach},
    store, tasks,
};

/// What was found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Sandboxes.
    pub sandboxes: usize,
    /// Containers.
    pub containers: usize,
}

/// Takes everything in. An entry that cannot be read is reported and left alone.
pub async fn recover(
    layout: &Layout,
    sandboxes: &Sandboxes,
    containers: &Containers,
    boot_id: &str,
) -> io::Result<Found> {
    reach("recover.begin");
    let mut found = Found::default();
    let mut adopted = Vec::new();
    for name in store::names(&layout.sandboxes())? {
        let Some((id, facts)) = sandbox_entry(layout, sandboxes, &name) else { continue };
        let state = sandbox_state(layout, &containers.parts().cgroups, &id, &facts, boot_id);
        tracing::debug!(%id, ?state, "sandbox found");
        reach("recover.sandbox");
        adopted.push(sandboxes.adopt(facts, state));
        found.sandboxes += 1;
    }
    sandboxes.networks().recovered();
    supervisors_without_files(layout, containers).await;
    let (mut looks, patience) = (Vec::new(), Patience::default());
    for name in store::names(&layout.containers())? {
        let Some((id, facts)) = container_entry(layout, containers, &name) else { continue };
        let facts = Arc::new(facts);
        let (layout, containers, boot_id) = (layout.clone(), containers.clone(), boot_id.to_owned());
        let rebooted = sandbox_boot(sandboxes, &facts.sandbox_id).is_some_and(|boot| boot != boot_id);
        let waits = patience.waits();
        looks.push(tasks::spawn("recovery of a container", async move {
            // What cannot be looked at is unknown, not gone: it may run, and its watcher looks again.
            let look = condition(&layout, &containers, &id, &facts, (rebooted, waits));
            let adopted = attempt("recover.container", look).await.unwrap_or_else(|error| {
                tracing::error!(%id, %error, "a container cannot be looked at; its state is unknown");
                Adopted::Silent
            });
            tracing::debug!(%id, ?adopted, "container found");
            let resources = resources(&layout, &id, &facts);
            containers.adopt(ContainerFacts::clone(&facts), adopted, resources, user(&layout, &id));
            Ok::<_, io::Error>(())
        }));
    }
    patience.run().await;
    for look in looks {
        match look.await {
            Ok(Ok(())) => found.containers += 1,
            Ok(Err(error)) => tracing::error!(%error, "a container cannot be recovered and is left alone"),
            Err(error) => tracing::error!(%error, "the recovery of a container failed"),
        }
    }
    // Now that the containers are known: the end of one may stop them.
    adopted.iter().for_each(|sandbox| follow(sandbox, containers));
    reach("recover.end");
    Ok(found)
}

/// Where a run directory is gone that a launch has made, what supervised is out of reach: the state folder was wiped, or
/// one container's part of it. Only who lost its own files is ended.
async fn supervisors_without_files(layout: &Layout, containers: &Containers) {
    if let Err(error) = end_supervisors_without_files(layout, containers).await {
        tracing::error!(%error, "supervisors that lost their files cannot be found");
    }
}

async fn end_supervisors_without_files(layout: &Layout, containers: &Containers) -> io::Result<()> {
    let (parts, found) = (containers.parts(), layout.clone());
    let look = move || {
        let names = store::names(&found.containers())?;
        let ids = names.iter().filter_map(|name| ContainerId::parse(name).ok());
        let is_lost =
            |id: &ContainerId| exists(&found.container_launched(id)) && !exists(found.run_dir(id).path());
        Ok::<_, io::Error>(ids.filter(is_lost).collect::<Vec<_>>())
    };
    let lost = tasks::blocking(tasks::Pool::Disk, look).await?;
    if lost.is_empty() {
        return Ok(());
    }
    let end = async |which| {
        let (layout, cgroups) = (layout.clone(), parts.cgroups.clone());
        tasks::blocking(tasks::Pool::Disk, move || end_strays(&cgroups, &layout, which)).await
    };
    // First whoever would put another shim in the place of one that is killed.
    end(Stray::Keeper).await?;
    if let Err(error) = parts.shims.forget_all(&lost).await {
        tracing::warn!(%error, "the keeper sends nobody away");
    }
    end(Stray::Shim).await.map(drop)
}

/// The limits that count: those of the last update, else those of the beginning.
fn resources(layout: &Layout, id: &ContainerId, facts: &ContainerFacts) -> Resources {
    match store::read_json(&layout.container_resources(id)) {
        Ok(updated) => updated.unwrap_or_else(|| facts.config.resources.clone()),
        Err(error) => {
            tracing::error!(%id, %error, "the record of updated limits is damaged; the first ones are shown");
            facts.config.resources.clone()
        }
    }
}

/// A sandbox by the name of its folder.
fn sandbox_entry(layout: &Layout, sandboxes: &Sandboxes, name: &str) -> Option<(SandboxId, SandboxFacts)> {
    let id = known(name, SandboxId::parse(name))?;
    let (folder, record, copy) =
        (layout.sandbox(&id), layout.sandbox_facts(&id), layout.sandbox_facts_copy(&id));
    match records::read(&folder, &record, &copy, |facts: &SandboxFacts| facts.id == name) {
        Facts::Known(facts) => Some((id, facts)),
        Facts::Nothing => {
            forget(&folder);
            None
        }
        Facts::Unreadable => {
            // It may well run: nothing that all pods share is given back.
            sandboxes.networks().adopt_unread(&id);
            let facts = SandboxFacts::unreadable(name, made_at(&folder));
            Some((id, facts))
        }
    }
}

/// A container by the name of its folder.
fn container_entry(
    layout: &Layout,
    containers: &Containers,
    name: &str,
) -> Option<(ContainerId, ContainerFacts)> {
    let id = known(name, ContainerId::parse(name))?;
    let (folder, record, copy) =
        (layout.container(&id), layout.container_facts(&id), layout.container_facts_copy(&id));
    match records::read(&folder, &record, &copy, |facts: &ContainerFacts| facts.id == name) {
        Facts::Known(facts) => Some((id, facts)),
        Facts::Nothing => {
            forget(&folder);
            None
        }
        Facts::Unreadable => {
            let parts = containers.parts();
            let runtime = parts.handlers.resolve("").unwrap_or_default();
            let place = (runtime, parts.cgroups.default_parent());
            let facts = ContainerFacts::unreadable(name, place, made_at(&folder));
            Some((id, facts))
        }
    }
}

fn known<I>(name: &str, id: Result<I, protocol::ids::BadId>) -> Option<I> {
    if id.is_err() {
        tracing::warn!(name, "a strange name in the store is left alone");
    }
    id.ok()
}

fn forget(folder: &Path) {
    if let Err(error) = store::remove_dir(folder) {
        tracing::warn!(folder = %folder.display(), %error, "an empty folder cannot be removed");
    }
}

fn sandbox_state(
    layout: &Layout,
    cgroups: &Cgroups,
    id: &SandboxId,
    facts: &SandboxFacts,
    boot_id: &str,
) -> State {
    if !layout.sandbox_ready(id).exists() {
        return State::Reclaiming;
    }
    if layout.sandbox_stopped(id).exists() && facts.boot_id == boot_id {
        // Its taking down may have been cut short: once more, from the start.
        return State::Stopping;
    }
    let pinned = facts.config.network == sandbox::Sharing::Node || layout.net_pin(id).exists();
    // A PID namespace whose first process has ended takes nobody in any more.
    let peopled = facts.config.pid != sandbox::Sharing::Pod
        || PodInit::of(facts, cgroups).is_ok_and(|init| init.is_alive());
    if layout.sandbox_stopped(id).exists() || facts.boot_id != boot_id || !pinned || !peopled {
        // Whether all of its network was given back is not known: the next stop sees to it.
        return State::Undone;
    }
    State::Ready
}

/// The boot of a container's sandbox, where it is known.
fn sandbox_boot(sandboxes: &Sandboxes, id: &str) -> Option<String> {
    sandboxes.by_id(id).map(|sandbox| sandbox.facts.boot_id.clone()).filter(|boot| !boot.is_empty())
}

async fn condition(
    layout: &Layout,
    containers: &Containers,
    id: &ContainerId,
    facts: &Arc<ContainerFacts>,
    (rebooted, waits): (bool, Waits),
) -> io::Result<Adopted> {
    if !layout.container_created(id).exists() {
        return Ok(Adopted::HalfMade);
    }
    if let Some(record) = read_exit_record(&layout.exit_record(id))?
        && !layout.container_launched(id).exists()
    {
        return Ok(Adopted::Exited(record));
    }
    if rebooted {
        return lost(facts, containers.parts(), container::RESTARTED).await;
    }
    let run_dir = layout.run_dir(id);
    // Made before anything is launched: without them the state folder was lost, though the host was not restarted.
    let launched = layout.container_launched(id).exists();
    let state = if launched { run_dir.path().to_owned() } else { layout.bundle(id) };
    if !exists(&state) {
        return lost(facts, containers.parts(), container::STATE_LOST).await;
    }
    if !launched {
        return Ok(Adopted::Created);
    }
    let record = layout.exit_record(id);
    let looked = waits.until_over(inspect(&run_dir, &record)).await;
    // Its watcher asks again, and goes on asking.
    let Some(looked) = looked else { return Ok(Adopted::Silent) };
    Ok(match looked? {
        Condition::Alive(link, state) => match state.phase.enum_value_or_default() {
            Phase::EXITED => match ExitRecord::decode(&state.exit_record) {
                Ok(record) => {
                    drop(link.dismiss().await);
                    Adopted::Exited(record)
                }
                Err(error) => return Err(io::Error::other(error)),
            },
            Phase::RUNNING | Phase::DRAINING => Adopted::Running(link, Box::new(state)),
            Phase::PHASE_UNSPECIFIED | Phase::BORN | Phase::CREATING | Phase::CREATED | Phase::STARTING => {
                Adopted::Starting(link)
            }
        },
        Condition::Exited(record) => Adopted::Exited(record),
        Condition::Silent => Adopted::Silent,
        // The daemon died before a shim had taken the launch up: none has ever written here, and none will.
        Condition::Lost if !exists(&run_dir.status()) => Adopted::Created,
        Condition::Lost => return lost(facts, containers.parts(), "its shim was killed").await,
    })
}

/// Who a container's first process is, as its mark says. A mark that says nothing was made by an older daemon.
fn user(layout: &Layout, id: &ContainerId) -> User {
    let mark = store::read(&layout.container_created(id)).ok().flatten().unwrap_or_default();
    serde_json::from_slice(&mark).unwrap_or_default()
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

async fn lost(facts: &Arc<ContainerFacts>, parts: &Arc<container::Parts>, why: &str) -> io::Result<Adopted> {
    record_lost(facts, parts, why).await.map(Adopted::Exited)
}
