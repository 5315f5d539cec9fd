//! RemovePodSandbox: removes a pod whatever lives in it. One that is not there is removed.
//!
//! Never: leaves a container behind.

use std::sync::Arc;

use cri_api::v1;
use tonic::Status;

use crate::{
    container::Containers,
    cri::{calls::remove_container::free_left, convert::required, error},
    image::Images,
    pod,
    sandbox::Sandboxes,
    tasks,
};

pub(in crate::cri) async fn handle(
    sandboxes: &Sandboxes,
    containers: &Containers,
    images: &Arc<Images>,
    request: v1::RemovePodSandboxRequest,
) -> Result<v1::RemovePodSandboxResponse, Status> {
    let wanted = required(&request.pod_sandbox_id, "pod_sandbox_id")?;
    if let Some(sandbox) = sandboxes.find(&wanted).map_err(error::sandbox)? {
        let containers = containers.clone();
        let work = async move { pod::remove(&sandbox, &containers).await };
        tasks::outlive("remove pod", work).await.map_err(error::pod)?;
        free_left(images);
    }
    Ok(v1::RemovePodSandboxResponse {})
}
