//! UpdateContainerResources: new limits, all or nothing; what is zero or empty stays as it is.
//!
//! Never: answers before the new limits count and are recorded.

use cri_api::v1;
use tonic::Status;

use crate::{
    container::Containers,
    cri::{
        convert::{required, resources},
        error,
    },
};

pub(in crate::cri) async fn handle(
    containers: &Containers,
    request: v1::UpdateContainerResourcesRequest,
) -> Result<v1::UpdateContainerResourcesResponse, Status> {
    let wanted = required(&request.container_id, "container_id")?;
    let asked = resources(&request.linux.unwrap_or_default(), containers.parts().host.cgroup_v2)?;
    let container = containers.get(&wanted).map_err(error::container)?;
    container.update(asked).await.map_err(error::container)?;
    Ok(v1::UpdateContainerResourcesResponse {})
}
