//! The OCI runtime specification of one container, made from facts alone.
//!
//! Pure: the same inputs give the same JSON, so golden files pin every field. Owns: config.json's content
//! (runtime-spec 1.0.2, which runc 1.1 and crun 1.8 take). Never: looks at the host.

mod capabilities;
mod limits;
mod linux;
mod mounts;
mod pid_place;
mod process;
mod seccomp;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

pub use capabilities::{CapabilitySet, DEFAULT_CAPABILITIES};
pub use limits::{limits, set_limits};
pub use pid_place::PidPlace;

use crate::{
    container::{ContainerFacts, Security, User},
    sandbox::SandboxFacts,
};

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
    /// Pin of the PID namespace, where the pod has one.
    pub pid: &'a Path,
}

/// A device node to be made in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceNode {
    /// Absolute path inside.
    pub path: String,
    /// A block device, else a character device.
    pub block: bool,
    /// Its numbers.
    pub numbers: (u32, u32),
    /// Permissions of the node.
    pub mode: u32,
    /// Its owner and group.
    pub owner: (u32, u32),
    /// Letters of `rwm`: what the container may do with it.
    pub access: String,
}

/// What the image and the host were found to have for a wish.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The user.
    pub user: User,
    /// Name of the host as the container sees it.
    pub hostname: String,
    /// Devices that were asked for; a privileged container's are those of the host.
    pub devices: Vec<DeviceNode>,
    /// Volumes of the image: path inside, folder on the host.
    pub volumes: Vec<(String, PathBuf)>,
    /// The seccomp profile of a file, where one was asked for.
    pub seccomp: Option<Value>,
    /// Pin of the PID namespace of the container that was named as target.
    pub target_pid: Option<PathBuf>,
}

/// Security modules of the host's kernel that are in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SecurityModules {
    /// SELinux.
    pub selinux: bool,
    /// AppArmor.
    pub apparmor: bool,
}

/// Controllers of the host that may be missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Controllers {
    /// Huge pages can be limited.
    pub hugetlb: bool,
    /// Swap can be limited.
    pub swap: bool,
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
    /// What the kernel enforces besides.
    pub modules: SecurityModules,
    /// What can be limited.
    pub controllers: Controllers,
    /// Most processes of a container; 0: no limit of our own.
    pub pids_limit: u32,
    /// Paths of this host that are hidden too where a request does not say what is.
    pub hidden: Vec<String>,
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
    /// What was found for this container.
    pub found: &'a Found,
}

/// Why no spec can be made: a request that cannot be fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Nothing to run.
    #[error("no command specified: neither the request nor the image names one")]
    NoCommand,
    /// Privileged in a pod that is not.
    #[error(
        "config.linux.security_context.privileged: the pod's sandbox is not privileged, so its containers cannot be"
    )]
    NotPrivileged,
    /// A shared PID namespace in a pod that has none.
    #[error(
        "namespace_options.pid POD: the pod has no PID namespace of its own; run its sandbox with pid mode POD"
    )]
    NoPodPids,
    /// A seccomp profile that cannot be used.
    #[error("the seccomp profile {path} cannot be used: {why}")]
    Seccomp {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// A capability nobody knows.
    #[error("{0:?} is no capability")]
    UnknownCapability(String),
}

/// Reads a seccomp profile for a container; the error is a sentence about the profile.
pub fn localhost_profile(
    text: &[u8],
    security: &Security,
    host: &HostLimits,
    kernel: (u32, u32),
) -> Result<Value, String> {
    let capabilities = capabilities::of(security, host.capabilities).map_err(|e| e.to_string())?;
    seccomp::read_profile(text, &capabilities.all, kernel)
}

/// Checks what needs no look at the image or the host, so that a wish that cannot be fulfilled costs nothing.
pub fn check(container: &ContainerFacts, sandbox: &SandboxFacts) -> Result<(), SpecError> {
    let security = &container.config.security;
    if security.privileged && !sandbox.config.privileged {
        return Err(SpecError::NotPrivileged);
    }
    capabilities::of(security, CapabilitySet(u64::MAX))?;
    PidPlace::of(&security.pid, sandbox.config.pid).map(drop)
}

/// Makes config.json.
pub fn generate(inputs: &SpecInputs<'_>) -> Result<Value, SpecError> {
    check(inputs.container, inputs.sandbox)?;
    let config = &inputs.container.config;
    let capabilities = capabilities::of(&config.security, inputs.host.capabilities)?;
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": process::process(inputs, &capabilities)?,
        "root": { "path": inputs.rootfs, "readonly": config.security.readonly_rootfs },
        "mounts": mounts::mounts(inputs),
        "annotations": annotations(inputs),
        "linux": linux::linux(inputs, &capabilities)?,
    }))
}

/// What tools that look at a runtime's state want to know (the words of CRI-O and containerd). The last is crun's: no
/// group of its own below systemd's scope, since limits, statistics and execs are looked for in the scope itself.
fn annotations(inputs: &SpecInputs<'_>) -> Value {
    json!({
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": inputs.container.config.name.name,
        "io.kubernetes.cri.sandbox-id": inputs.container.sandbox_id,
        "io.kubernetes.cri.sandbox-name": inputs.sandbox.config.name.name,
        "io.kubernetes.cri.sandbox-namespace": inputs.sandbox.config.name.namespace,
        "io.kubernetes.cri.sandbox-uid": inputs.sandbox.config.name.uid,
        "run.oci.systemd.subgroup": "",
    })
}

#[cfg(test)]
pub(crate) mod tests;
