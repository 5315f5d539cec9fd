//! ContainerStatus: one container.
//!
//! Never: an exit code that nobody saw.

use std::collections::HashMap;

use cri_api::v1;
use protocol::ids::ContainerId;
use tonic::Status;

use crate::{
    container::{Container, Containers, View, lifecycle::State},
    cri::{
        convert::{container_status, required},
        error,
    },
    store,
    tasks::{Pool, blocking},
};

pub(in crate::cri) async fn handle(
    containers: &Containers,
    request: v1::ContainerStatusRequest,
) -> Result<v1::ContainerStatusResponse, Status> {
    let wanted = required(&request.container_id, "container_id")?;
    let container = containers.get(&wanted).map_err(error::container)?;
    let view = container.view();
    let mut info = HashMap::new();
    if request.verbose {
        info.insert("info".to_owned(), verbose(&container, &view, containers).await);
    }
    Ok(v1::ContainerStatusResponse { status: Some(container_status(&container, &view)), info })
}

/// What `crictl inspect` shows beside the status.
async fn verbose(container: &Container, view: &View, containers: &Containers) -> String {
    let facts = container.facts.clone();
    let bundle = ContainerId::parse(&facts.id).map(|id| containers.parts().layout.bundle(&id));
    let spec = match bundle.clone() {
        Ok(bundle) => {
            let read = move || store::read_json::<serde_json::Value>(&bundle.join("config.json"));
            blocking(Pool::Disk, read).await.ok().flatten()
        }
        Err(_) => None,
    };
    serde_json::json!({
        "sandboxID": facts.sandbox_id,
        "pid": view.init_pid,
        "shimPid": view.link.as_ref().map_or(0, |link| link.hello.shim_pid),
        "runtime": facts.runtime,
        "bundle": bundle.ok(),
        "privileged": facts.config.security.privileged,
        "snapshotKey": facts.id,
        "cgroupParent": facts.cgroup_parent,
        "removing": matches!(view.state, State::Reclaiming | State::Gone),
        "config": facts.config,
        "runtimeSpec": spec,
    })
    .to_string()
}
