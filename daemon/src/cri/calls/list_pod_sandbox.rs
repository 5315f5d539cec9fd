//! ListPodSandbox: the kubelet asks each second; takes no lock that an owner can hold.
//!
//! Never: waits.

use cri_api::v1;
use tonic::Status;

use crate::{
    cri::{
        convert::{fits_labels, pod_sandbox, sandbox_state},
        error,
    },
    sandbox::Sandboxes,
};

pub(in crate::cri) fn handle(
    sandboxes: &Sandboxes,
    request: v1::ListPodSandboxRequest,
) -> Result<v1::ListPodSandboxResponse, Status> {
    let filter = request.filter.unwrap_or_default();
    let mut all = if filter.id.is_empty() {
        sandboxes.list()
    } else {
        sandboxes.find(&filter.id).map_err(error::sandbox)?.into_iter().collect()
    };
    all.retain(|sandbox| {
        let state = sandbox_state(sandbox.state()) as i32;
        filter.state.as_ref().is_none_or(|wanted| wanted.state == state)
            && fits_labels(&sandbox.facts.config.labels, &filter.label_selector)
    });
    all.sort_by_key(|sandbox| std::cmp::Reverse(sandbox.facts.created_at));
    Ok(v1::ListPodSandboxResponse { items: all.iter().map(pod_sandbox).collect() })
}
