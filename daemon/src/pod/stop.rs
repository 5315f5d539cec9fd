//! Stopping a pod: no new containers, an end to those there are, then the sandbox.
//!
//! Idempotent: a retry simply runs it again. Never: removes.

use std::time::Duration;

use super::PodError;
use crate::{
    container::{Container, ContainerError, Containers},
    sandbox::Sandbox,
    tasks,
};

/// Stops it. The kubelet has stopped the containers with their grace before; what is left gets none.
pub async fn stop(sandbox: &Sandbox, containers: &Containers) -> Result<(), PodError> {
    sandbox.close().await;
    let stops = containers.of_sandbox(&sandbox.facts.id).into_iter().map(|container: Container| {
        tasks::spawn("stop of a pod's container", async move { container.stop(Duration::ZERO).await })
    });
    first_error(stops.collect()).await?;
    Ok(sandbox.stop().await?)
}

/// Waits for all; the first error, if any.
pub(super) async fn first_error(
    work: Vec<tokio::task::JoinHandle<Result<(), ContainerError>>>,
) -> Result<(), ContainerError> {
    let mut result = Ok(());
    for one in work {
        if let Ok(done) = one.await {
            result = result.and(done);
        }
    }
    result
}
