//! ListContainerStats: what the running containers use.
//!
//! Never: a row for one that does not run.

use std::collections::HashSet;

use cri_api::v1;
use tonic::Status;

use crate::{
    container::Containers,
    cri::{convert::fits_labels, error, looks},
    stats::Stats,
};

pub(in crate::cri) async fn handle(
    containers: &Containers,
    stats: &Stats,
    request: v1::ListContainerStatsRequest,
) -> Result<v1::ListContainerStatsResponse, Status> {
    let filter = request.filter.unwrap_or_default();
    let mut all = containers.list();
    let there: HashSet<&str> = all.iter().map(|(container, _)| container.facts.id.as_str()).collect();
    stats.keep_containers(|id| there.contains(id));
    if !filter.id.is_empty() {
        let id = containers.find(&filter.id).map_err(error::container)?.map(|c| c.facts.id.clone());
        all.retain(|(container, _)| Some(&container.facts.id) == id.as_ref());
    }
    all.retain(|(container, view)| {
        looks::is_alive(view)
            && container.facts.sandbox_id.starts_with(&filter.pod_sandbox_id)
            && fits_labels(&container.facts.config.labels, &filter.label_selector)
    });
    let wanted = all.into_iter().map(|(container, _)| container.facts).collect();
    Ok(v1::ListContainerStatsResponse {
        stats: looks::containers(containers.parts(), stats, wanted, false).await,
    })
}
