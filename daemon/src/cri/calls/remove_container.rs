//! RemoveContainer: removes it, alive or not. One that is not there is removed.
//!
//! Never: its log file; that is the kubelet's.

use cri_api::v1;
use tonic::Status;

use crate::{
    container::Containers,
    cri::{convert::required, error},
};

pub(in crate::cri) async fn handle(
    containers: &Containers,
    request: v1::RemoveContainerRequest,
) -> Result<v1::RemoveContainerResponse, Status> {
    let wanted = required(&request.container_id, "container_id")?;
    if let Some(container) = containers.find(&wanted).map_err(error::container)? {
        container.remove().await.map_err(error::container)?;
    }
    Ok(v1::RemoveContainerResponse {})
}
