//! ExecSync: one command to its end. An exit code is an answer, not an error; a timeout is DEADLINE_EXCEEDED.
//!
//! Never: leaves a process of a probe that timed out.

use std::time::Duration;

use cri_api::v1;
use tonic::Status;

use crate::{
    container::{Containers, ExecEnd, exec_sync},
    cri::{convert::required, error},
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
