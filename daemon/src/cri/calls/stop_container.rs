//! StopContainer: signal, grace, kill; answered when it has ended. One that is not there is stopped.
//!
//! Never: takes back a kill because the caller went away.

use std::time::Duration;

use cri_api::v1;
use tonic::Status;

use crate::{
    container::Containers,
    cri::{convert::required, error},
    limits::GRACE_MAX,
};

pub(in crate::cri) async fn handle(
    containers: &Containers,
    request: v1::StopContainerRequest,
) -> Result<v1::StopContainerResponse, Status> {
    let wanted = required(&request.container_id, "container_id")?;
    let seconds = u64::try_from(request.timeout.clamp(0, GRACE_MAX)).unwrap_or(0);
    if let Some(container) = containers.find(&wanted).map_err(error::container)? {
        container.stop(Duration::from_secs(seconds)).await.map_err(error::container)?;
    }
    Ok(v1::StopContainerResponse {})
}
