//! ListPodSandboxStats: what the ready pods use.
//!
//! Never: a row for one that was stopped.

use std::collections::HashSet;

use cri_api::v1;
use tonic::Status;

use crate::{
    container::Containers,
    cri::{convert::fits_labels, error, looks},
    sandbox::{Sandboxes, lifecycle::State},
    stats::Stats,
};

pub(in crate::cri) async fn handle(
    sandboxes: &Sandboxes,
    containers: &Containers,
    stats: &Stats,
    request: v1::ListPodSandboxStatsRequest,
) -> Result<v1::ListPodSandboxStatsResponse, Status> {
    let filter = request.filter.unwrap_or_default();
    let mut all = sandboxes.list();
    let there: HashSet<&str> = all.iter().map(|sandbox| sandbox.facts.id.as_str()).collect();
    stats.keep_pods(|id| there.contains(id));
    if !filter.id.is_empty() {
        let id = sandboxes.find(&filter.id).map_err(error::sandbox)?.map(|s| s.facts.id.clone());
        all.retain(|sandbox| Some(&sandbox.facts.id) == id.as_ref());
    }
    all.retain(|sandbox| {
        sandbox.state() == State::Ready && fits_labels(&sandbox.facts.config.labels, &filter.label_selector)
    });
    let wanted = all.into_iter().map(|sandbox| sandbox.facts).collect();
    Ok(v1::ListPodSandboxStatsResponse { stats: looks::pods(containers, stats, wanted).await })
}
