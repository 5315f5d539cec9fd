//! A shim that took a launch up after the daemon that had sent it was killed, and after the next one had looked: the
//! container is taken for one that was never begun, and is not.
//!
//! Owns: what start and stop do about it. Never: kills a container that nobody asked to stop.

use std::{io, sync::Arc};

use protocol::{exit_record::ExitRecord, ids::ContainerId};

use super::{
    ContainerError, ContainerFacts, Parts, ending::Ending, lifecycle::Event, lost, reclaim::dismiss,
};
use crate::shims::{Condition, ShimLink, inspect};

/// Where a former daemon began a start: the shim that has it after all.
pub(super) async fn find(facts: &ContainerFacts, parts: &Parts) -> Option<ShimLink> {
    let id = ContainerId::parse(&facts.id).ok()?;
    if !parts.layout.container_launched(&id).exists() {
        return None;
    }
    match inspect(&parts.layout.run_dir(&id), &parts.layout.exit_record(&id)).await {
        Ok(Condition::Alive(link, _)) => {
            tracing::warn!(id = %facts.id, "a shim took up what a former daemon began; the start goes on with it");
            Some(link)
        }
        _ => None,
    }
}

/// The stop procedure of a container that was not started.
pub(super) async fn stop(facts: Arc<ContainerFacts>, parts: Arc<Parts>) -> Ending {
    match record(&facts, &parts).await {
        Ok(record) => Ending::exited(record),
        Err(e) => Ending::failed(Event::RecordFailed, ContainerError::step(&facts.id, "container.lost", e)),
    }
}

async fn record(facts: &Arc<ContainerFacts>, parts: &Arc<Parts>) -> io::Result<ExitRecord> {
    match lost::record_never_started(facts, parts).await {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        recorded => return recorded,
    }
    tracing::warn!(id = %facts.id, "a shim took up what a former daemon began; it is stopped with its container");
    let id = ContainerId::parse(&facts.id).map_err(io::Error::other)?;
    dismiss(facts, parts, &id).await.map_err(io::Error::other)?;
    // What the shim has written wins.
    lost::record_never_started(facts, parts).await
}
