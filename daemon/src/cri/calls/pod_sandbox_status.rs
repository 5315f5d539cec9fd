//! PodSandboxStatus: one sandbox.
//!
//! Never: an address the pod does not have.

use std::collections::HashMap;

use cri_api::v1;
use tonic::Status;

use crate::{
    cri::{
        convert::{pod_sandbox_status, required},
        error,
    },
    layout::Layout,
    sandbox::Sandboxes,
};

pub(in crate::cri) fn handle(
    sandboxes: &Sandboxes,
    layout: &Layout,
    request: v1::PodSandboxStatusRequest,
) -> Result<v1::PodSandboxStatusResponse, Status> {
    let wanted = required(&request.pod_sandbox_id, "pod_sandbox_id")?;
    let sandbox = sandboxes.get(&wanted).map_err(error::sandbox)?;
    let addresses = sandboxes.networks().of(&sandbox.facts.id);
    let mut info = HashMap::new();
    if request.verbose
        && let Ok(id) = protocol::ids::SandboxId::parse(&sandbox.facts.id)
    {
        let text = serde_json::json!({
            "runtimeHandler": sandbox.facts.config.handler,
            "networkNamespace": layout.net_pin(&id),
            "stateDir": layout.sandbox_state(&id),
            "config": sandbox.facts.config,
            "network": sandboxes.networks().kept(&id),
        });
        info.insert("info".to_owned(), text.to_string());
    }
    Ok(v1::PodSandboxStatusResponse {
        status: Some(pod_sandbox_status(&sandbox.facts, sandbox.state(), &addresses)),
        info,
        ..v1::PodSandboxStatusResponse::default()
    })
}
