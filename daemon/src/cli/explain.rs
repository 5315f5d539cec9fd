//! `taffrail explain`: the timeline of one pod or container, and what it waits for now.
//!
//! Never: guesses; of what was before the daemon's start only the records tell, and that is said.

use std::process::ExitCode;

use cri_api::control::{ExplainRequest, ExplainResponse, Happening, Operation};
use serde_json::json;

use super::{
    args::ExplainArguments,
    connect::{Connection, block_on},
    exit::Failure,
    print,
    time::{span, utc},
};

pub(super) fn run(arguments: &ExplainArguments) -> Result<ExitCode, Failure> {
    let wanted = arguments.object.clone();
    let told = block_on(async {
        let connection = Connection::open(Connection::socket(&arguments.client)).await?;
        Ok(connection.control().explain(ExplainRequest { wanted }).await?.into_inner())
    })?;
    if arguments.json {
        print::json(&as_json(&told))?
    } else {
        show(&told)?
    }
    Ok(ExitCode::SUCCESS)
}

/// An operation for programs; `status` has it too.
pub(super) fn operation_json(operation: &Operation) -> serde_json::Value {
    json!({
        "id": operation.object_id, "object": operation.object, "what": operation.what,
        "is_call": operation.is_call, "age_ms": operation.age_ms, "step": operation.step,
        "step_age_ms": operation.step_age_ms, "waits_for": operation.waits_for,
    })
}

fn as_json(told: &ExplainResponse) -> serde_json::Value {
    let past = told.past.iter().map(|one| {
        json!({
            "at": utc(one.at), "operation": one.operation, "step": one.step, "took_micros": one.took_micros,
            "from_records": one.from_records,
        })
    });
    let parts = told.containers.iter();
    json!({
        "id": told.id, "object": told.object, "state": told.state, "watched_since": utc(told.watched_since),
        "past": past.collect::<Vec<_>>(), "forgotten": told.forgotten,
        "now": told.now.iter().map(operation_json).collect::<Vec<_>>(),
        "containers": parts
            .map(|part| json!({ "id": part.id, "name": part.name, "state": part.state }))
            .collect::<Vec<_>>(),
    })
}

/// One line of the timeline.
fn row(one: &Happening) -> Vec<String> {
    let (what, took) = match (one.operation.as_str(), one.step.as_str()) {
        ("", what) => (what.to_owned(), String::new()),
        (operation, "") => (format!("{operation}: ended"), span(one.took_micros)),
        (operation, step) => (format!("{operation}: {step}"), span(one.took_micros)),
    };
    vec![utc(one.at), what, took]
}

fn show(told: &ExplainResponse) -> Result<(), Failure> {
    print::line(&format!("{} {}", told.object, told.id))?;
    print::line(&format!("state: {}", told.state))?;
    let (records, seen): (Vec<_>, Vec<_>) = told.past.iter().partition(|one| one.from_records);
    let mut rows: Vec<_> = records.iter().map(|one| row(one)).collect();
    if !records.is_empty() {
        // An older daemon's steps are not kept.
        rows.push(vec![
            utc(told.watched_since),
            "this daemon was started; before it only records tell".to_owned(),
        ]);
    }
    if told.forgotten > 0 {
        rows.push(vec!["...".to_owned(), format!("{} older steps are not kept", told.forgotten)]);
    }
    rows.extend(seen.iter().map(|one| row(one)));
    print::table(&["BEGUN", "WHAT", "TOOK"], &rows)?;
    for now in &told.now {
        print::line(&sentence(now))?;
    }
    if told.now.is_empty() {
        print::line("now: nothing is under way")?;
    }
    if !told.containers.is_empty() {
        let short = |id: &str| id.get(..13).unwrap_or(id).to_owned();
        let rows: Vec<_> =
            told.containers.iter().map(|c| vec![short(&c.id), c.name.clone(), c.state.clone()]).collect();
        print::table(&["CONTAINER", "NAME", "STATE"], &rows)?;
    }
    Ok(())
}

/// What is under way, in a sentence.
fn sentence(now: &Operation) -> String {
    let age = span(now.age_ms.saturating_mul(1000));
    let place = match now.step.as_str() {
        "" if now.is_call => "waits for it".to_owned(),
        "" => "is between two steps".to_owned(),
        step => format!("is in step {step} for {}", span(now.step_age_ms.saturating_mul(1000))),
    };
    let waits =
        if now.waits_for.is_empty() { String::new() } else { format!("; it waits for {}", now.waits_for) };
    format!("now: {} of {}, begun {age} ago, {place}{waits}", now.what, now.object)
}
