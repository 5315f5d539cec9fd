//! PodSandboxStats: what one pod uses.
//!
//! Never: a figure from before it was asked for.

use cri_api::v1;
use tonic::Status;

use crate::{
    container::Containers,
    cri::{convert::required, error, looks},
    sandbox::Sandboxes,
    stats::Stats,
};

pub(in crate::cri) async fn handle(
    sandboxes: &Sandboxes,
    containers: &Containers,
    stats: &Stats,
    request: v1::PodSandboxStatsRequest,
) -> Result<v1::PodSandboxStatsResponse, Status> {
    let wanted = required(&request.pod_sandbox_id, "pod_sandbox_id")?;
    let sandbox = sandboxes.get(&wanted).map_err(error::sandbox)?;
    let looked = looks::pods(containers, stats, vec![sandbox.facts.clone()]).await;
    Ok(v1::PodSandboxStatsResponse { stats: looked.into_iter().next() })
}
