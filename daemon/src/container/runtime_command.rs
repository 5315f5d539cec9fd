//! A runtime's command that the daemon runs itself: one that inspects or dismantles (DESIGN: what makes a process
//! is run by the shim).
//!
//! Owns: its environment, its deadline, the words of its failure. Never: a command that leaves a process.

use std::{process::Stdio, time::Duration};

use protocol::shim::Command;

use crate::{limits, operations};

/// Runs it to its end or to its own deadline; `name` is for the message.
pub(super) async fn run(command: Command, name: &str) -> Result<(), String> {
    let child = tokio::process::Command::new(&command.program)
        .args(&command.args)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("{} cannot be run: {e}", command.program))?;
    let patience = Duration::from_millis(u64::from(command.timeout_ms));
    match tokio::time::timeout(patience, child.wait_with_output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let words = output.stderr.get(..limits::RUNTIME_STDERR_MAX).unwrap_or(&output.stderr);
            Err(format!("the runtime's {name}: {} {}", output.status, String::from_utf8_lossy(words).trim()))
        }
        Ok(Err(error)) => Err(format!("the runtime's {name}: {error}")),
        Err(_) => Err(format!("{}: the runtime's {name} did not end", operations::still(patience))),
    }
}
