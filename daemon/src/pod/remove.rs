//! Removing a pod: stop it, remove its containers, then the sandbox.
//!
//! Idempotent: a retry simply runs it again. Never: leaves a container without its sandbox.

use super::{PodError, stop::first_error};
use crate::{container::Containers, sandbox::Sandbox, tasks};

/// Removes it, whatever still lives in it.
pub async fn remove(sandbox: &Sandbox, containers: &Containers) -> Result<(), PodError> {
    super::stop(sandbox, containers).await?;
    let removals = containers.of_sandbox(&sandbox.facts.id).into_iter().map(|container| {
        tasks::spawn("removal of a pod's container", async move { container.remove().await })
    });
    first_error(removals.collect()).await?;
    Ok(sandbox.remove().await?)
}
