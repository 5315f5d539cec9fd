//! RunPodSandbox: makes a pod's environment; a retry joins the one in flight or gets its result.
//!
//! Never: a second sandbox of the same name.

use cri_api::v1;
use tonic::Status;

use crate::{
    container::Containers,
    cri::{convert::sandbox_config, error},
    pod,
    sandbox::Sandboxes,
};

pub(in crate::cri) async fn handle(
    sandboxes: &Sandboxes,
    containers: &Containers,
    request: v1::RunPodSandboxRequest,
) -> Result<v1::RunPodSandboxResponse, Status> {
    let parts = containers.parts();
    let mut config = sandbox_config(request.config.as_ref(), &request.runtime_handler, parts.host.modules)?;
    config.cgroup_parent = parts.cgroups.check_parent(&config.cgroup_parent).map_err(error::invalid)?;
    let sandbox = sandboxes.run(config).await.map_err(error::sandbox)?;
    pod::follow(&sandbox, containers);
    Ok(v1::RunPodSandboxResponse { pod_sandbox_id: sandbox.facts.id.clone() })
}
