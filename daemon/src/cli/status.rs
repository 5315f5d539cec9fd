//! `taffrail status`: the daemon, what is stuck, and the shim of each container.
//!
//! Never: guesses; what the daemon does not know is shown as `-`.

use std::process::ExitCode;

use cri_api::control::{Operation, StatusRequest, StatusResponse};
use serde_json::json;

use super::{
    args::StatusArguments,
    connect::{Connection, block_on},
    exit::Failure,
    explain::operation_json,
    print,
    time::span,
};

pub(super) fn run(arguments: &StatusArguments) -> Result<ExitCode, Failure> {
    let status = block_on(async {
        let connection = Connection::open(Connection::socket(&arguments.client)).await?;
        Ok(connection.control().status(StatusRequest {}).await?.into_inner())
    })?;
    if arguments.json {
        print::json(&as_json(&status))?
    } else {
        show(&status)?
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(status: &StatusResponse) -> serde_json::Value {
    let containers: Vec<serde_json::Value> = status
        .containers
        .iter()
        .map(|c| {
            json!({
                "id": c.container_id, "name": c.name, "sandbox_id": c.sandbox_id, "state": c.state,
                "shim_pid": c.shim_pid, "generation": c.generation, "init_pid": c.init_pid,
                "kept": c.kept,
            })
        })
        .collect();
    json!({
        "pid": status.pid, "version": status.version, "instance": status.instance,
        "root": status.root, "state": status.state, "containers": containers,
        "keeper_pid": status.keeper_pid, "kept": status.kept,
        "under_way": status.under_way,
        "stuck": status.stuck.iter().map(operation_json).collect::<Vec<_>>(),
    })
}

fn show(status: &StatusResponse) -> Result<(), Failure> {
    print::line(&format!(
        "taffrail {} (pid {}), instance {}, root {}, state {}",
        status.version, status.pid, status.instance, status.root, status.state
    ))?;
    print::line(&match status.keeper_pid {
        0 => "keeper: none answers; a shim that is killed now is not replaced".to_owned(),
        pid => format!("keeper: pid {pid}, keeps {} shims", status.kept),
    })?;
    print::line(&format!("{} procedures and calls under way", status.under_way))?;
    show_stuck(&status.stuck)?;
    let pid = |pid: u32| if pid == 0 { "-".to_owned() } else { pid.to_string() };
    let rows: Vec<Vec<String>> = status
        .containers
        .iter()
        .map(|c| {
            let short = c.container_id.get(..13).unwrap_or(&c.container_id).to_owned();
            vec![
                short,
                c.name.clone(),
                c.state.clone(),
                pid(c.shim_pid),
                c.generation.to_string(),
                pid(c.init_pid),
            ]
        })
        .collect();
    print::table(&["CONTAINER", "NAME", "STATE", "SHIM", "GENERATION", "INIT"], &rows)
}

/// What takes longer than it should; calls that wait for a procedure stand beside it.
fn show_stuck(stuck: &[Operation]) -> Result<(), Failure> {
    if stuck.is_empty() {
        return Ok(());
    }
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let rows: Vec<Vec<String>> = stuck
        .iter()
        .map(|one| {
            let age = span(one.step_age_ms.saturating_mul(1000));
            vec![one.what.clone(), or_dash(&one.object), or_dash(&one.step), age, or_dash(&one.waits_for)]
        })
        .collect();
    print::line(&format!("{} stuck; `taffrail explain OBJECT` shows its steps:", stuck.len()))?;
    print::table(&["STUCK", "OBJECT", "STEP", "FOR", "WAITS FOR"], &rows)
}
