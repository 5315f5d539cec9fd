//! ListContainers: the kubelet asks each second; takes no lock that an owner can hold.
//!
//! Never: waits.

use cri_api::v1;
use tonic::Status;

use crate::{
    container::Containers,
    cri::{
        convert::{container_item, container_state, fits_labels},
        error,
    },
};

pub(in crate::cri) fn handle(
    containers: &Containers,
    request: v1::ListContainersRequest,
) -> Result<v1::ListContainersResponse, Status> {
    let filter = request.filter.unwrap_or_default();
    let mut all = containers.list();
    if !filter.id.is_empty() {
        let id = containers.find(&filter.id).map_err(error::container)?.map(|c| c.facts.id.clone());
        all.retain(|(container, _)| Some(&container.facts.id) == id.as_ref());
    }
    all.retain(|(container, view)| {
        let facts = &container.facts;
        filter.state.as_ref().is_none_or(|wanted| wanted.state == container_state(view) as i32)
            && facts.sandbox_id.starts_with(&filter.pod_sandbox_id)
            && fits_labels(&facts.config.labels, &filter.label_selector)
    });
    all.sort_by_key(|(container, _)| std::cmp::Reverse(container.facts.created_at));
    let containers = all.iter().map(|(container, view)| container_item(container, view)).collect();
    Ok(v1::ListContainersResponse { containers })
}
