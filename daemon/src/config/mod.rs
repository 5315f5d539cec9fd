//! The configuration: what the files, the environment and the command line say, checked, with the source of
//! each value.
//!
//! Owns: the keys, their defaults and their meaning. Never: acts on a value.

mod keys;
mod network_keys;
mod settings;
mod sources;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

pub use keys::{NETNS_DIR, fold};
pub use settings::{Setting, Settings, Source};
pub use sources::{Inputs, gather};

/// How container cgroups are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupDriver {
    /// By writing to the cgroup file system.
    Cgroupfs,
    /// By asking systemd for scopes.
    Systemd,
}

/// Where the daemon's own log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTarget {
    /// To the journal where stderr is connected to it, else to stderr.
    Auto,
    /// To the journal.
    Journald,
    /// To stderr.
    Stderr,
}

/// Which network pods on their own network get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkMode {
    /// CNI where a configuration of it is there, else the built-in bridge.
    Auto,
    /// CNI, and no pod without a configuration.
    Cni,
    /// The built-in bridge.
    Bridge,
    /// Loopback only.
    None,
}

/// The keys about networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Which one is used.
    pub mode: NetworkMode,
    /// Where CNI configurations are looked for.
    pub cni_conf_dir: PathBuf,
    /// Where CNI plugins are looked for, in order.
    pub cni_bin_dirs: Vec<PathBuf>,
    /// How long the plugins may take for one call.
    pub cni_timeout: Duration,
    /// Name of the built-in bridge; empty: one that the instance gives.
    pub bridge_name: String,
    /// Its IPv4 range; empty: the kubelet's, else a built-in one.
    pub bridge_subnet: String,
    /// Its IPv6 range; empty: the kubelet's, else one that the instance gives; `none`: no IPv6.
    pub bridge_subnet6: String,
}

/// What kind of program a runtime is: how its command line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeKind {
    /// runc, or one with its command line.
    Runc,
    /// crun.
    Crun,
}

/// One entry of `[runtimes]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// The program; empty where it was looked for and is not installed.
    pub path: PathBuf,
    /// Its own state folder.
    pub root: PathBuf,
    /// How its command line looks.
    pub kind: RuntimeKind,
}

/// The whole configuration, checked: nothing is optional that has a default.
#[derive(Debug, Clone)]
pub struct Config {
    /// What survives a reboot.
    pub root: PathBuf,
    /// What does not.
    pub state: PathBuf,
    /// The socket of the CRI.
    pub socket: PathBuf,
    /// Group that may use the socket, by name or number; `None`: root only.
    pub socket_group: Option<String>,
    /// Least level that is logged: error, warn, info, debug, trace.
    pub log_level: String,
    /// Where the daemon's log goes.
    pub log_target: LogTarget,
    /// Names this daemon's cgroups and pins, so that two daemons on one host never meet.
    pub instance: String,
    /// How container cgroups are made.
    pub cgroup_driver: CgroupDriver,
    /// Cgroup of the shims, absolute below the cgroup root; a name that ends with `.scope` is asked of systemd.
    pub shim_cgroup: String,
    /// Where network namespaces are pinned.
    pub netns_dir: PathBuf,
    /// `registries.conf`; beside it, with `.d` behind the name, the folder of its drop-ins.
    pub registries_conf: PathBuf,
    /// Folder of certificates for registries, one folder for each host.
    pub registries_certs_dir: PathBuf,
    /// Pods' networks.
    pub network: NetworkConfig,
    /// How long a registry may leave an answer, or a blob, standing still.
    pub pull_stall: std::time::Duration,
    /// Most bytes of one layer, unpacked.
    pub layer_max_bytes: u64,
    /// Most files, folders and links of one layer.
    pub layer_max_entries: u64,
    /// Images that the kubelet's garbage collection must leave alone: names, `*` at an end or both.
    pub pinned_images: Vec<String>,
    /// Name of the runtime for sandboxes that ask for none.
    pub default_runtime: String,
    /// Most processes of one container; 0: no limit of our own, the kubelet's for the pod counts.
    pub pids_limit: u32,
    /// The runtimes by the names that RuntimeClass handlers use.
    pub runtimes: BTreeMap<String, RuntimeConfig>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was asked for cannot be read.
    #[error("{path}: cannot be read ({error})")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file that is no TOML, or a key or value that is not known.
    #[error("{at}: {message}")]
    Bad {
        /// `file:line:key`, an environment variable or a flag.
        at: String,
        /// What is wrong and what would be right.
        message: String,
    },
}

impl Config {
    /// Reads all sources and checks the outcome.
    pub fn load(inputs: &Inputs) -> Result<(Self, Settings), ConfigError> {
        let mut settings = gather(inputs)?;
        let config = keys::check(&mut settings)?;
        Ok((config, settings))
    }
}

#[cfg(test)]
mod tests;
