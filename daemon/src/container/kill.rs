//! The kill procedure: through the shim, else past it.
//!
//! Runs after an explicit stop or removal only. Owns: the order of means. Never: a grace period.

use std::sync::Arc;

use protocol::ids::ContainerId;
use tokio::sync::watch;

use super::{
    ContainerError, ContainerFacts, Parts, View,
    ending::Ending,
    lifecycle::{Event, State},
    lost,
};
use crate::{
    limits, operations,
    shims::{ShimLink, dismiss_by_force},
    steps::{attempt, step},
    tasks::{Pool, blocking},
};

pub(super) async fn kill(
    facts: Arc<ContainerFacts>,
    parts: Arc<Parts>,
    link: Option<ShimLink>,
    mut view: watch::Receiver<View>,
) -> Ending {
    let Ok(id) = ContainerId::parse(&facts.id) else { return Ending::of(Event::KillOver) };
    let asked = match &link {
        Some(link) => attempt("container.kill", link.kill(limits::SHIM_RECOVER)).await.is_ok(),
        None => false,
    };
    if !asked {
        past_the_shim(&facts, &parts, &id).await;
    }
    if ended(&mut view).await {
        return Ending::nothing();
    }
    // The shim was told and nothing came of it; or it cannot be told. Once more, without it.
    let empty = {
        past_the_shim(&facts, &parts, &id).await;
        let (parts, facts, id) = (parts.clone(), facts.clone(), id.clone());
        blocking(Pool::Disk, move || parts.cgroups.is_empty(&facts.cgroup_parent, &id)).await
    };
    let unkillable = |message: String| {
        let error = ContainerError::Unkillable { id: facts.id.clone(), message };
        Ending::failed(Event::KillOver, error)
    };
    if !empty {
        let place = operations::still_in("container.end", limits::KILL_WAIT);
        return unkillable(format!("{place}: processes are left after SIGKILL (in the kernel, or frozen)"));
    }
    // The shim may have come back since, and what it was told first may have been before there was anything to kill.
    let link = view.borrow().link.clone().or(link);
    if let Some(link) = link
        && let Ok(state) = link.state(limits::SHIM_RECOVER).await
    {
        let seen = view.wait_for(|view| view.exit.is_some());
        if tokio::time::timeout(limits::SHIM_RECOVER, seen).await.is_ok() {
            return Ending::nothing();
        }
        // It answers and knows how the container ended: it must not be killed, or that is lost.
        let phase = state.phase.enum_value_or_default();
        return unkillable(format!(
            "it has ended, but its exit record cannot be written yet ({phase:?}): is the disk full?"
        ));
    }
    let run_dir = parts.layout.run_dir(&id);
    // Through the keeper, or it would put another shim in the place of this one.
    parts.shims.forget(&id).await;
    let cgroups = parts.cgroups.clone();
    if let Err(error) = blocking(Pool::Disk, move || dismiss_by_force(&cgroups, &run_dir)).await {
        return unkillable(format!("its processes are gone, but its shim does not leave: {error}"));
    }
    // The watcher sees the free lock and records the loss, unless the shim did better.
    if ended(&mut view).await {
        return Ending::nothing();
    }
    match lost::record_lost(&facts, &parts, "its shim did not answer and was killed").await {
        Ok(record) => Ending::exited(record),
        Err(error) => unkillable(error.to_string()),
    }
}

/// Waits for the end. `true`: it has ended, or what it was killed for has been given up meanwhile.
async fn ended(view: &mut watch::Receiver<View>) -> bool {
    let seen = view.wait_for(|view| view.exit.is_some());
    let ended = step("container.end", tokio::time::timeout(limits::KILL_WAIT, seen)).await.is_ok();
    ended || view.borrow().state != State::Stopping
}

async fn past_the_shim(facts: &Arc<ContainerFacts>, parts: &Arc<Parts>, id: &ContainerId) {
    let (facts, parts, id) = (facts.clone(), parts.clone(), id.clone());
    let kill = blocking(Pool::Disk, move || {
        let killed = parts.cgroups.kill(&facts.cgroup_parent, &id);
        if let Err(error) = killed {
            tracing::warn!(id = %facts.id, %error, "the container's cgroup cannot be killed");
        }
    });
    step("container.kill_cgroup", kill).await;
}
