//! OCI runtimes: their command lines, and the bundles they are given.
//!
//! Only this module knows how a runtime is called. Owns: command lines, config.json. Never: runs a command;
//! what makes a process is run by the shim, what dismantles is run by its caller.

pub mod bundle;
mod commands;
mod crun;
mod failure;
mod features;
mod runc;
pub mod spec;
mod version;

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use protocol::{
    ids::{ContainerId, ExecId},
    rundir::RunDir,
    shim,
};

pub use commands::Location;
pub use crun::Crun;
pub use failure::exit_code_of;
pub use features::knows_recursive_read_only;
pub use runc::Runc;
pub use version::{Advisory, advisory, read_version};

use crate::config::{CgroupDriver, Config, RuntimeKind};

/// A runtime's command lines. Pure.
pub trait OciRuntime: Send + Sync + fmt::Debug {
    /// The program.
    fn program(&self) -> &Path;

    /// Its own state folder.
    fn root(&self) -> &Path;

    /// Makes the container and its init process, which waits.
    fn create(&self, run_dir: &RunDir, bundle: &Path, id: &ContainerId, terminal: bool) -> shim::Command;

    /// Lets init go on.
    fn start(&self, run_dir: &RunDir, id: &ContainerId) -> shim::Command;

    /// Runs a command beside init, in cgroups of its own below the container's.
    fn exec(&self, run_dir: &RunDir, id: &ContainerId, exec: &ExecId, argv: &[String]) -> shim::Command;

    /// Gives a running container the limits in a file (`linux.resources` of the spec, as JSON).
    fn update(&self, run_dir: &RunDir, id: &ContainerId, limits: &Path) -> shim::Command;

    /// Takes a container apart, alive or not.
    fn delete(&self, run_dir: &RunDir, id: &ContainerId) -> shim::Command;
}

/// Name of the cgroup that an exec gets below its container's.
pub fn exec_cgroup(exec: &ExecId) -> String {
    format!("taffrail-{exec}")
}

/// The runtimes by the names of RuntimeClass handlers.
#[derive(Debug, Clone)]
pub struct Handlers {
    default: String,
    runtimes: BTreeMap<String, Arc<dyn OciRuntime>>,
    missing: Vec<String>,
}

/// A handler that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no runtime handler {name:?} is configured; there are {known} (see [runtimes] in the configuration)")]
pub struct UnknownHandler {
    name: String,
    known: String,
}

impl Handlers {
    /// The configured runtimes; those whose program is not installed are left out.
    pub fn new(config: &Config, cgroup_v2: bool) -> Self {
        let mut runtimes: BTreeMap<String, Arc<dyn OciRuntime>> = BTreeMap::new();
        let mut missing = Vec::new();
        for (name, runtime) in &config.runtimes {
            if !runtime.path.is_file() {
                missing.push(name.clone());
                continue;
            }
            let location = Location {
                program: runtime.path.clone(),
                root: runtime.root.clone(),
                systemd: config.cgroup_driver == CgroupDriver::Systemd,
                cgroup_v2,
            };
            let runtime: Arc<dyn OciRuntime> = match runtime.kind {
                RuntimeKind::Runc => Arc::new(Runc::new(location)),
                RuntimeKind::Crun => Arc::new(Crun::new(location)),
            };
            runtimes.insert(name.clone(), runtime);
        }
        Self { default: config.default_runtime.clone(), runtimes, missing }
    }

    /// The name that a handler stands for: the empty one is the default's.
    pub fn resolve(&self, handler: &str) -> Result<String, UnknownHandler> {
        let name = if handler.is_empty() { &self.default } else { handler };
        self.get(name).map(|_| name.to_owned())
    }

    /// The runtime of a resolved name.
    pub fn get(&self, name: &str) -> Result<Arc<dyn OciRuntime>, UnknownHandler> {
        self.runtimes.get(name).cloned().ok_or_else(|| UnknownHandler {
            name: name.to_owned(),
            known: self.runtimes.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })
    }

    /// The names there are.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.runtimes.keys().map(String::as_str)
    }

    /// Whether the default runtime is installed; else its name.
    pub fn default_is_there(&self) -> Result<(), &str> {
        if self.missing.contains(&self.default) { Err(&self.default) } else { Ok(()) }
    }
}
