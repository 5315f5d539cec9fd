//! Sandboxes: each has one owner task (I1); everyone else has a handle to ask and a view to read.
//!
//! Owns: a pod's environment. Never: knows of containers; what spans both is in `pod`.

mod error;
mod facts;
pub mod lifecycle;
mod owner;
mod pod_init;
mod reclaim;
mod registry;
mod run;
mod stop;

use std::sync::Arc;

pub use error::SandboxError;
pub use facts::{
    Dns, FACTS_VERSION, PortMapping, Protocol, SandboxConfig, SandboxFacts, SandboxName, Sharing,
};
pub use owner::{Lease, Sandbox};
pub use pod_init::PodInit;
pub use registry::Sandboxes;

use crate::{
    cgroups::Cgroups, events::Events, layout::Layout, network::Networks, oci::Handlers,
    operations::Operations, shims::Shims,
};

/// What sandboxes are made of.
#[derive(Debug)]
pub struct Parts {
    /// Where everything is.
    pub layout: Layout,
    /// Where the init process of a pod is counted.
    pub cgroups: Cgroups,
    /// For the pin program.
    pub shims: Arc<Shims>,
    /// To refuse an unknown handler.
    pub handlers: Handlers,
    /// Attaches and detaches.
    pub networks: Networks,
    /// This boot.
    pub boot_id: String,
    /// Who is told what happens to them.
    pub events: Events,
    /// What is under way with them.
    pub operations: Operations,
}

#[cfg(test)]
mod tests;
