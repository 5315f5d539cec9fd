//! ContainerStats: what one container uses.
//!
//! Never: a figure from before it was asked for.

use cri_api::v1;
use tonic::Status;

use crate::{
    container::Containers,
    cri::{convert::required, error, looks},
    stats::Stats,
};

pub(in crate::cri) async fn handle(
    containers: &Containers,
    stats: &Stats,
    request: v1::ContainerStatsRequest,
) -> Result<v1::ContainerStatsResponse, Status> {
    let wanted = required(&request.container_id, "container_id")?;
    let container = containers.get(&wanted).map_err(error::container)?;
    let looked = looks::containers(containers.parts(), stats, vec![container.facts.clone()], true).await;
    Ok(v1::ContainerStatsResponse { stats: looked.into_iter().next() })
}
