//! StartContainer: from CREATED only. A failure leaves it EXITED with 126, 127 or 128 and the runtime's words.
//!
//! Never: starts twice.

use cri_api::v1;
use tonic::Status;

use crate::{
    container::Containers,
    cri::{convert::required, error},
};

pub(in crate::cri) async fn handle(
    containers: &Containers,
    request: v1::StartContainerRequest,
) -> Result<v1::StartContainerResponse, Status> {
    let wanted = required(&request.container_id, "container_id")?;
    let container = containers.get(&wanted).map_err(error::container)?;
    container.start().await.map_err(error::container)?;
    Ok(v1::StartContainerResponse {})
}
