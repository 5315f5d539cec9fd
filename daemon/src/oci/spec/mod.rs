//! The OCI runtime specification of one container, made from facts alone.
//!
//! Pure: the same inputs give the same JSON, so golden files pin every field. Owns: config.json's content
//! (runtime-spec 1.0.2, which runc 1.1 and crun 1.8 take). Never: looks at the host.

mod capabilities;
mod limits;
mod linux;
mod mounts;
mod process;

use std::path::Path;

use serde_json::{Value, json};

pub use capabilities::{CapabilitySet, DEFAULT_CAPABILITIES};
pub use limits::{limits, set_limits};
pub use process::user;

use crate::{container::ContainerFacts, sandbox::SandboxFacts};

/// What an image says about how it is run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageDefaults {
    /// The entry point.
    pub entrypoint: Vec<String>,
    /// Its arguments.
    pub cmd: Vec<String>,
    /// `KEY=VALUE`.
    pub env: Vec<String>,
    /// Where it starts.
    pub working_dir: String,
    /// `user[:group]`.
    pub user: String,
    /// `SIGTERM` or a number.
    pub stop_signal: String,
}

/// The host files of a pod that its containers see.
#[derive(Debug, Clone)]
pub struct PodFiles<'a> {
    /// /etc/hosts.
    pub hosts: &'a Path,
    /// /etc/hostname.
    pub hostname: &'a Path,
    /// /etc/resolv.conf.
    pub resolv_conf: &'a Path,
    /// /dev/shm.
    pub shm: &'a Path,
    /// Pin of the network namespace.
    pub net: &'a Path,
    /// Pin of the IPC namespace.
    pub ipc: &'a Path,
    /// Pin of the UTS namespace.
    pub uts: &'a Path,
}

/// What of the host shows in a spec.
#[derive(Debug, Clone)]
pub struct HostLimits {
    /// The capabilities we may give: our own bounding set.
    pub capabilities: CapabilitySet,
    /// The least `oom_score_adj` we may set; -1000 with CAP_SYS_RESOURCE.
    pub least_oom_score_adj: i64,
    /// The host has the unified hierarchy only: containers get a cgroup namespace.
    pub cgroup_v2: bool,
}

/// All a spec is made from.
#[derive(Debug, Clone)]
pub struct SpecInputs<'a> {
    /// The container.
    pub container: &'a ContainerFacts,
    /// Its sandbox.
    pub sandbox: &'a SandboxFacts,
    /// Its image's defaults.
    pub image: &'a ImageDefaults,
    /// The pod's files.
    pub files: PodFiles<'a>,
    /// Absolute path of the mounted root file system.
    pub rootfs: &'a Path,
    /// `linux.cgroupsPath`.
    pub cgroups_path: &'a str,
    /// The host.
    pub host: &'a HostLimits,
}

/// Why no spec can be made: a request that cannot be fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Nothing to run.
    #[error("the container has no command: neither the request nor the image names one")]
    NoCommand,
    /// A user that is not a number.
    #[error("the user {0:?} is not numeric: users by name are not supported yet; set run_as_user")]
    UserByName(String),
    /// A capability nobody knows.
    #[error("{0:?} is no capability")]
    UnknownCapability(String),
}

/// Makes config.json.
pub fn generate(inputs: &SpecInputs<'_>) -> Result<Value, SpecError> {
    let config = &inputs.container.config;
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": process::process(inputs)?,
        "root": { "path": inputs.rootfs, "readonly": config.security.readonly_rootfs },
        "mounts": mounts::mounts(inputs),
        "annotations": annotations(inputs),
        "linux": linux::linux(inputs),
    }))
}

/// What tools that look at a runtime's state want to know (the words of CRI-O and containerd).
fn annotations(inputs: &SpecInputs<'_>) -> Value {
    json!({
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": inputs.container.config.name.name,
        "io.kubernetes.cri.sandbox-id": inputs.container.sandbox_id,
        "io.kubernetes.cri.sandbox-name": inputs.sandbox.config.name.name,
        "io.kubernetes.cri.sandbox-namespace": inputs.sandbox.config.name.namespace,
        "io.kubernetes.cri.sandbox-uid": inputs.sandbox.config.name.uid,
    })
}

#[cfg(test)]
mod tests;
