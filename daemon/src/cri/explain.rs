//! What is known of one pod or container: what was done with it, what is under way, what it waits for.
//!
//! Owns: whom a person means. Never: asks an object's owner, which may be what is stuck.

use std::time::Duration;

use cri_api::control as wire;
use tonic::Status;

use super::{control_service::ControlService, error::invalid};
use crate::{
    container::Container,
    operations::{Entry, Now, Object},
    sandbox::Sandbox,
};

/// Objects that are named where more than one is meant.
const NAMED: usize = 5;

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// An operation as the command line is told of it.
pub(super) fn told(now: Now) -> wire::Operation {
    wire::Operation {
        object_id: now.id,
        object: now.label,
        what: now.what.to_owned(),
        is_call: now.is_call,
        age_ms: millis(now.age),
        step: now.step.to_owned(),
        step_age_ms: millis(now.step_age),
        waits_for: now.waits,
    }
}

/// The object that is meant: one that is there before one that has gone.
fn find(all: Vec<(String, Object)>, wanted: &str) -> Result<(String, Object), Status> {
    if wanted.is_empty() {
        return Err(invalid("no pod or container is named"));
    }
    let mut meant: Vec<_> = all.into_iter().filter(|(id, object)| object.is_called(id, wanted)).collect();
    if meant.iter().any(|(_, object)| !object.is_gone) {
        meant.retain(|(_, object)| !object.is_gone);
    }
    meant.sort_by(|(a, _), (b, _)| a.cmp(b));
    if let Some(exact) = meant.iter().position(|(id, _)| id == wanted) {
        return Ok(meant.swap_remove(exact));
    }
    let listed =
        |(id, object): &(String, Object)| format!("{} ({})", id.get(..13).unwrap_or(id), object.label);
    let count = meant.len();
    match meant.pop() {
        None => Err(Status::not_found(format!(
            "there is no pod and no container {wanted}; give an id, a name, NAMESPACE/POD or NAMESPACE/POD/CONTAINER"
        ))),
        Some(one) if count == 1 => Ok(one),
        Some(last) => {
            let mut names: Vec<String> = meant.iter().take(NAMED - 1).map(listed).collect();
            names.push(listed(&last));
            let more = count - names.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let names = names.join(", ");
            Err(invalid(format!("{wanted:?} may be {count} of them: {names}{more}; give more of the id")))
        }
    }
}

/// Answers `taffrail explain`.
pub(super) fn explain(service: &ControlService, wanted: &str) -> Result<wire::ExplainResponse, Status> {
    let operations = &service.operations;
    let (id, object) = find(operations.objects(), wanted)?;
    let container = service.containers.by_id(&id);
    let sandbox = service.sandboxes.by_id(&id);
    let state = match (&container, &sandbox) {
        (Some(container), _) => container.view().word().to_owned(),
        (None, Some(sandbox)) => sandbox_word(sandbox),
        (None, None) => "gone".to_owned(),
    };
    let parts = if sandbox.is_some() { service.containers.of_sandbox(&id) } else { Vec::new() };
    let records = container.map(|container| of_container(&container)).unwrap_or_default();
    let records = records.into_iter().chain(sandbox.map(|sandbox| created(sandbox.facts.created_at)));
    // Of what came after the daemon's start it has seen more itself.
    let mut past: Vec<_> = records.filter(|record| record.at < operations.since).collect();
    past.extend(object.past.entries.iter().map(seen));
    past.sort_by_key(|happening| happening.at);
    let mut containers: Vec<_> = parts.iter().map(part).collect();
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(wire::ExplainResponse {
        now: operations.of(&id).into_iter().map(told).collect(),
        id,
        object: object.label,
        state,
        watched_since: operations.since,
        past,
        forgotten: object.past.forgotten,
        containers,
    })
}

fn sandbox_word(sandbox: &Sandbox) -> String {
    use crate::sandbox::lifecycle::State;
    let word = match sandbox.state() {
        State::Creating => "being made",
        State::Ready => "ready",
        State::Stopping => "being stopped",
        State::Undone => "not ready; its network may not be given back yet",
        State::NotReady => "not ready",
        State::Reclaiming => "being removed",
        State::Gone => "gone",
    };
    word.to_owned()
}

fn part(container: &Container) -> wire::Part {
    wire::Part {
        id: container.facts.id.clone(),
        name: container.facts.config.name.name.clone(),
        state: container.view().word().to_owned(),
    }
}

fn record(at: i64, what: impl Into<String>) -> wire::Happening {
    wire::Happening { at, step: what.into(), from_records: true, ..wire::Happening::default() }
}

fn created(at: i64) -> wire::Happening {
    record(at, "created")
}

/// What the records of a container tell.
fn of_container(container: &Container) -> Vec<wire::Happening> {
    let view = container.view();
    let mut told = vec![created(container.facts.created_at)];
    if view.started_at != 0 {
        told.push(record(view.started_at, "started"));
    }
    if let (Some(exit), Some(end)) = (&view.exit, view.end()) {
        told.push(record(exit.at, end));
    }
    told
}

fn seen(entry: &Entry) -> wire::Happening {
    wire::Happening {
        at: entry.at,
        operation: entry.operation.to_owned(),
        step: entry.step.clone(),
        took_micros: u64::try_from(entry.took.as_micros()).unwrap_or(u64::MAX),
        from_records: false,
    }
}
