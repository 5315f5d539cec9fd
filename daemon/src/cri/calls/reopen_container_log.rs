//! ReopenContainerLog: the kubelet has renamed the file; go on in a new one. Answered when it is there.
//!
//! Never: an error and a new file both.

use cri_api::v1;
use tonic::Status;

use crate::{
    container::{ContainerError, Containers, reopen_log},
    cri::{convert::required, error},
    steps::attempt,
};

pub(in crate::cri) async fn handle(
    containers: &Containers,
    request: v1::ReopenContainerLogRequest,
) -> Result<v1::ReopenContainerLogResponse, Status> {
    let wanted = required(&request.container_id, "container_id")?;
    let container = containers.get(&wanted).map_err(error::container)?;
    let view = container.view();
    let Some(link) = view.link.clone() else {
        let id = container.facts.id.clone();
        let state = view.word();
        return Err(error::container(ContainerError::State { id, state, what: "given a new log" }));
    };
    let done = attempt("log.reopen", reopen_log(&container.facts, containers.parts(), &link)).await;
    done.map_err(error::container)?;
    Ok(v1::ReopenContainerLogResponse {})
}
