//! The reclaim procedure: gives back whatever a container holds, whole or half-made, from its id alone (I4).
//!
//! Collects errors and goes on; the facts' folder goes last, so an unfinished reclaim is found again. Never:
//! needs to know how far the making came.

use std::{path::Path, sync::Arc};

use protocol::ids::ContainerId;

use super::{ContainerError, ContainerFacts, Parts, ending::Ending, lifecycle::Event, runtime_command::run};
use crate::{
    limits,
    shims::{ShimLink, dismiss_by_force},
    steps::attempt,
    store,
    sys::{self, lock},
    tasks::{Pool, blocking, limited},
};

pub(super) async fn reclaim(facts: Arc<ContainerFacts>, parts: Arc<Parts>) -> Ending {
    let Ok(id) = ContainerId::parse(&facts.id) else { return Ending::of(Event::ReclaimDone) };
    let mut errors = Vec::new();
    // From here on it is half-made, whatever else is gone when the daemon dies.
    let created = parts.layout.container_created(&id);
    let unmade =
        attempt("container.unmake", blocking(Pool::Disk, move || store::remove_file(&created))).await;
    errors.extend(unmade.err().map(|e| format!("mark of its making: {e}")));
    errors.extend(attempt("container.dismiss", dismiss(&facts, &parts, &id)).await.err());
    errors.extend(attempt("container.delete", delete(&facts, &parts, &id)).await.err());
    let work = {
        let (facts, parts) = (facts.clone(), parts.clone());
        move || dismantle(&facts, &parts, &id, errors)
    };
    let errors = attempt("container.dismantle", blocking(Pool::Disk, work)).await;
    if errors.is_empty() {
        return Ending::of(Event::ReclaimDone);
    }
    let what = errors.join("; ");
    Ending::failed(Event::ReclaimFailed, ContainerError::Left { id: facts.id.clone(), what })
}

/// Sends the shim away; one that still has a container kills it first.
async fn dismiss(facts: &Arc<ContainerFacts>, parts: &Arc<Parts>, id: &ContainerId) -> Result<(), String> {
    let run_dir = parts.layout.run_dir(id);
    if lock::is_free(&run_dir.lock()).unwrap_or(false) {
        return Ok(());
    }
    if let Ok(link) = ShimLink::connect(&run_dir, limits::SHIM_RECOVER).await {
        if link.dismiss().await.is_ok() {
            return Ok(());
        }
        tracing::warn!(id = %facts.id, "a shim is sent away while its container lives");
        drop(link.kill(limits::SHIM_ANSWER).await);
        let mut sequence = 0;
        let exited = async {
            while let Ok(state) = link.next_state(sequence).await {
                sequence = state.sequence;
                if !state.exit_record.is_empty() {
                    return;
                }
            }
        };
        if tokio::time::timeout(limits::KILL_WAIT, exited).await.is_ok() && link.dismiss().await.is_ok() {
            return Ok(());
        }
    }
    // Through the keeper, or it would put another shim in the place of this one.
    parts.shims.forget(id).await;
    let parts = parts.clone();
    let force = move || dismiss_by_force(&parts.cgroups, &run_dir);
    blocking(Pool::Disk, force).await.map_err(|e| format!("shim: {e}"))
}

/// The runtime's delete, where the runtime knows the container.
async fn delete(facts: &Arc<ContainerFacts>, parts: &Arc<Parts>, id: &ContainerId) -> Result<(), String> {
    let runtime = parts.handlers.get(&facts.runtime).map_err(|e| e.to_string())?;
    let place = runtime.root().join(id.as_str());
    if !place.exists() {
        return Ok(());
    }
    let run_dir = parts.layout.run_dir(id);
    store::make_dir(run_dir.path()).map_err(|e| format!("run directory: {e}"))?;
    let deleted = limited(Pool::Runtime, run(runtime.delete(&run_dir, id), "delete")).await;
    // runc says nothing of a folder that it could not remove: a command of its own that was killed may have left its
    // program there, bound so that no container can write to it.
    if deleted.is_ok() && !place.exists() {
        return Ok(());
    }
    let error = deleted.err().map_or_else(|| "the runtime left its folder".to_owned(), |e| e.to_string());
    // Its own record of the container may be damaged. All that it would do is done by the next step too; what it knows
    // of one whose processes are gone is not needed any more.
    let (facts, parts, id) = (facts.clone(), parts.clone(), id.clone());
    blocking(Pool::Disk, move || {
        parts.cgroups.end(&facts.cgroup_parent, &id, limits::KILL_WAIT).map_err(|e| format!("{error}; {e}"))?;
        tracing::warn!(id = %facts.id, %error, "a runtime cannot delete a container that has ended; its folder is removed");
        // Never through a mount that is still there.
        let removed = sys::mounts::unmount_below(&place).and_then(|()| store::remove_dir(&place));
        removed.map_err(|e| format!("{error}; {}: {e}", place.display()))
    })
    .await
}

/// What needs no process: cgroups, root file system, folders. With errors before it, the facts stay.
fn dismantle(
    facts: &ContainerFacts,
    parts: &Parts,
    id: &ContainerId,
    mut errors: Vec<String>,
) -> Vec<String> {
    let layout = &parts.layout;
    let mut note = |what: &str, result: Result<(), String>| {
        errors.extend(result.err().map(|e| format!("{what}: {e}")));
    };
    let io = |result: std::io::Result<()>| result.map_err(|e| e.to_string());
    note("cgroups", io(parts.cgroups.kill(&facts.cgroup_parent, id)));
    note("cgroups", io(parts.cgroups.remove(&facts.cgroup_parent, id)));
    note("pin of a PID namespace", io(sys::mounts::unmount(&layout.target_pin(id))));
    let released = parts.snapshots.release(id.as_str(), &layout.rootfs(id));
    let mounted = released.is_err();
    note("root file system", released.map_err(|e| e.to_string()));
    if !mounted {
        // Never through a mount that is still there.
        note("bundle", io(store::remove_dir(&layout.bundle(id))));
    }
    note("run directory", io(store::remove_dir(Path::new(layout.run_dir(id).path()))));
    // Before the facts: they may be large, and what is left of them must be found again.
    note("volumes", io(store::remove_dir(&layout.volumes(id))));
    if errors.is_empty() {
        errors.extend(store::remove_dir(&layout.container(id)).err().map(|e| format!("facts: {e}")));
    }
    errors
}
