//! UpdateRuntimeConfig: the kubelet tells the node's pod ranges. The built-in network gives addresses of them from then
//! on, unless the configuration names its range; CNI has its own.
//!
//! Never: changes a pod that runs.

use cri_api::v1;
use tonic::Status;

use crate::{
    cri::error::invalid,
    network::Networks,
    tasks::{Pool, blocking},
};

pub(in crate::cri) async fn handle(
    networks: &Networks,
    request: v1::UpdateRuntimeConfigRequest,
) -> Result<v1::UpdateRuntimeConfigResponse, Status> {
    let ranges = request.runtime_config.and_then(|config| config.network_config).unwrap_or_default().pod_cidr;
    let networks = networks.clone();
    let taken = blocking(Pool::Disk, move || networks.set_ranges(&ranges)).await;
    taken.map_err(|e| invalid(format!("runtime_config.network_config.pod_cidr: {e}")))?;
    Ok(v1::UpdateRuntimeConfigResponse {})
}
