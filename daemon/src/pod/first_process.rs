//! The end of a pod's first process is the end of the pod: nothing can be started in its PID namespace any more, and
//! the kernel has killed what was in it.
//!
//! Owns: that the pod is stopped then, so that the kubelet makes it anew. Never: kills that process.

use std::io;

use crate::{
    cgroups::Cgroups,
    container::Containers,
    sandbox::{PodInit, Sandbox, Sharing, lifecycle::State},
    tasks::{self, Pool, blocking},
};

/// Follows the first process of a ready sandbox that has one, once, for as long as it lives.
pub fn follow(sandbox: &Sandbox, containers: &Containers) {
    if sandbox.facts.config.pid != Sharing::Pod || !sandbox.take_watch() {
        return;
    }
    let (sandbox, containers) = (sandbox.clone(), containers.clone());
    tasks::spawn("watch of a pod's first process", async move {
        if let Err(error) = ended(&sandbox, &containers.parts().cgroups).await {
            tracing::warn!(id = %sandbox.facts.id, %error, "a pod's first process cannot be followed");
            return;
        }
        // A stop or a removal ends it too.
        if sandbox.state() != State::Ready {
            return;
        }
        tracing::warn!(id = %sandbox.facts.id, "a pod's first process has ended; the pod is stopped");
        if let Err(error) = super::stop(&sandbox, &containers).await {
            tracing::warn!(id = %sandbox.facts.id, %error, "a pod without its first process cannot be stopped");
        }
    });
}

async fn ended(sandbox: &Sandbox, cgroups: &Cgroups) -> io::Result<()> {
    let init = PodInit::of(&sandbox.facts, cgroups)?;
    match blocking(Pool::Disk, move || init.handle()).await? {
        Some(handle) => handle.ended().await,
        None => Ok(()),
    }
}
