//! Containers: each has one owner task (I1); everyone else has a handle to ask and a view to read.
//!
//! Owns: one workload, from its facts to its reclaim. Never: the sandbox's own state; it holds a lease.

mod create;
mod error;
mod exec_sync;
mod facts;
mod kill;
pub mod lifecycle;
mod lost;
mod owner;
mod reclaim;
mod registry;
mod signals;
mod start;
mod view;
mod watch;

use std::sync::Arc;

pub use create::NewContainer;
pub use error::ContainerError;
pub use exec_sync::{ExecEnd, exec_sync};
pub use facts::{
    ContainerConfig, ContainerFacts, ContainerName, FACTS_VERSION, Mount, Propagation, Resources, Security,
    User,
};
pub use lost::record_lost;
pub use owner::{Adopted, Container};
pub use registry::Containers;
pub use signals::signal_number;
pub use view::View;

use crate::{
    cgroups::Cgroups,
    layout::Layout,
    oci::{Handlers, spec::HostLimits},
    shims::Shims,
    snapshot::Snapshotter,
};

/// What containers are made of.
#[derive(Debug)]
pub struct Parts {
    /// Where everything is.
    pub layout: Layout,
    /// Where their processes are counted.
    pub cgroups: Cgroups,
    /// Their supervisors.
    pub shims: Arc<Shims>,
    /// Their runtimes.
    pub handlers: Handlers,
    /// Their root file systems.
    pub snapshots: Arc<dyn Snapshotter>,
    /// What of the host shows in a spec.
    pub host: HostLimits,
}

#[cfg(test)]
mod tests;
