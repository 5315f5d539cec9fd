//! StopPodSandbox: ends its containers and takes down its namespaces. One that is not there is stopped.
//!
//! Never: removes.

use cri_api::v1;
use tonic::Status;

use crate::{
    container::Containers,
    cri::{convert::required, error},
    pod,
    sandbox::Sandboxes,
    tasks,
};

pub(in crate::cri) async fn handle(
    sandboxes: &Sandboxes,
    containers: &Containers,
    request: v1::StopPodSandboxRequest,
) -> Result<v1::StopPodSandboxResponse, Status> {
    let wanted = required(&request.pod_sandbox_id, "pod_sandbox_id")?;
    if let Some(sandbox) = sandboxes.find(&wanted).map_err(error::sandbox)? {
        let containers = containers.clone();
        let work = async move { pod::stop(&sandbox, &containers).await };
        tasks::outlive("stop pod", work).await.map_err(error::pod)?;
    }
    Ok(v1::StopPodSandboxResponse {})
}
