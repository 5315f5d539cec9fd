//! ExecSync: one command to its end. An exit code is an answer, not an error; a timeout is DEADLINE_EXCEEDED.
//!
//! Never: leaves a process of a probe that timed out.

use std::time::Duration;

use cri_api::v1;
use tonic::Status;

use crate::{
    container::{Containers, ExecEnd, exec_sync},
    cri::{convert::required, error},
    limits::{EXEC_ARGUMENT_MAX, EXEC_ARGUMENTS_MAX, EXEC_COMMAND_MAX},
    tasks,
};

pub(in crate::cri) async fn handle(
    containers: &Containers,
    request: v1::ExecSyncRequest,
) -> Result<v1::ExecSyncResponse, Status> {
    let wanted = required(&request.container_id, "container_id")?;
    if request.cmd.first().is_none_or(String::is_empty) {
        return Err(error::invalid("cmd is empty; it is needed"));
    }
    let total: usize = request.cmd.iter().map(|arg| arg.len() + 1).sum();
    let largest = request.cmd.iter().map(String::len).max().unwrap_or(0);
    if total > EXEC_COMMAND_MAX || largest > EXEC_ARGUMENT_MAX || request.cmd.len() > EXEC_ARGUMENTS_MAX {
        return Err(error::invalid(format!(
            "cmd may have {EXEC_ARGUMENTS_MAX} arguments of {EXEC_ARGUMENT_MAX} bytes each, {EXEC_COMMAND_MAX} together"
        )));
    }
    if request.cmd.iter().any(|arg| arg.contains('\0')) {
        return Err(error::invalid("cmd holds a NUL byte"));
    }
    let timeout = request.timeout;
    let seconds = u64::try_from(timeout).map_err(|_| error::invalid("timeout is negative"))?;
    let container = containers.get(&wanted).map_err(error::container)?;
    let parts = containers.parts().clone();
    let work = async move { exec_sync(&container, &parts, request.cmd, Duration::from_secs(seconds)).await };
    match tasks::outlive("exec sync", work).await.map_err(error::container)? {
        ExecEnd::Ended { code, stdout, stderr } => {
            Ok(v1::ExecSyncResponse { stdout, stderr, exit_code: code })
        }
        ExecEnd::TimedOut => Err(Status::deadline_exceeded(format!(
            "the command timed out after {timeout} s and was killed with all its processes"
        ))),
    }
}
