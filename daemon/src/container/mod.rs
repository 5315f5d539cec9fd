//! Containers: each has one owner task (I1); everyone else has a handle to ask and a view to read.
//!
//! Owns: one workload, from its facts to its reclaim. Never: the sandbox's own state; it holds a lease.

mod accounts;
mod adopted;
mod create;
mod devices;
mod ending;
mod error;
mod exec_sync;
mod facts;
mod features;
mod handle;
mod kill;
pub mod lifecycle;
mod lost;
mod oom_score;
mod owner;
mod prepare;
mod reclaim;
mod registry;
mod reopen;
mod runtime_command;
mod signals;
mod sources;
mod start;
mod target;
mod update;
mod updates;
mod user;
mod view;
mod volumes;
mod watch;
mod witness;

use std::sync::Arc;

pub use adopted::Adopted;
pub use create::NewContainer;
pub use error::ContainerError;
pub use exec_sync::{ExecEnd, exec_sync};
pub use facts::{
    ContainerConfig, ContainerFacts, ContainerName, Device, FACTS_VERSION, GroupsPolicy, Mount, PidMode,
    Propagation, Resources, Seccomp, Security, User,
};
pub use features::Features;
pub use handle::Container;
pub use lost::{RESTARTED, STATE_LOST, record_lost};
pub use registry::Containers;
pub use reopen::reopen_log;
pub use signals::signal_number;
pub use target::Target;
pub use user::UserError;
pub use view::View;

use crate::{
    cgroups::Cgroups,
    events::Events,
    layout::Layout,
    oci::{Handlers, spec::HostLimits},
    operations::Operations,
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
    /// What these can do.
    pub features: Arc<Features>,
    /// Their root file systems.
    pub snapshots: Arc<dyn Snapshotter>,
    /// What of the host shows in a spec.
    pub host: HostLimits,
    /// Who is told what happens to them.
    pub events: Events,
    /// What is under way with them.
    pub operations: Operations,
}

#[cfg(test)]
mod tests;
