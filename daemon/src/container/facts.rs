//! What was asked of a container: checked, resolved, immutable, on disk before anything else of it exists (I3).
//!
//! Owns: the domain's words for one workload. Never: protobuf; `cri::convert` makes these.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of the facts' form. A reader refuses a higher one.
pub const FACTS_VERSION: u32 = 1;

/// The kubelet's name for a container; unique in its sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContainerName {
    /// Name in the pod's spec.
    pub name: String,
    /// How often it was made anew.
    pub attempt: u32,
}

/// How mounts travel between host and container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Propagation {
    /// They do not.
    Private,
    /// From the host into the container.
    HostToContainer,
    /// Both ways.
    Bidirectional,
}

/// A bind mount that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path inside.
    pub container_path: String,
    /// Absolute path on the host, as given.
    pub host_path: String,
    /// Without writing; what is mounted below it keeps its own flags.
    pub readonly: bool,
    /// Without writing, with all that is mounted below it.
    #[serde(default)]
    pub recursive_read_only: bool,
    /// An SELinux label was asked for; it means nothing where SELinux is off.
    #[serde(default)]
    pub selinux_relabel: bool,
    /// How mounts travel.
    pub propagation: Propagation,
}

/// A device of the host that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Absolute path inside.
    pub container_path: String,
    /// Absolute path on the host: a device, a link to one, or a folder of them.
    pub host_path: String,
    /// Letters of `rwm`: read, write, make.
    pub permissions: String,
}

/// Limits; zero or empty: none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Microseconds of a CPU period.
    pub cpu_period: i64,
    /// Microseconds of CPU time in a period.
    pub cpu_quota: i64,
    /// Relative weight, v1 scale.
    pub cpu_shares: i64,
    /// Bytes.
    pub memory_limit: i64,
    /// Bytes of memory and swap together.
    pub memory_swap_limit: i64,
    /// -1000 to 1000.
    pub oom_score_adj: i64,
    /// List of CPUs, as in `0-3,5`.
    pub cpuset_cpus: String,
    /// List of memory nodes.
    pub cpuset_mems: String,
    /// Bytes by page size (`2MB`).
    #[serde(default)]
    pub hugepages: BTreeMap<String, u64>,
    /// Files of the unified hierarchy and what is written to them, after all else.
    #[serde(default)]
    pub unified: BTreeMap<String, String>,
}

/// Which of the image's groups a process has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupsPolicy {
    /// Those of its user in the image's /etc/group, and those asked for.
    #[default]
    Merge,
    /// Those asked for only.
    Strict,
}

/// Which system calls a container may make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seccomp {
    /// All.
    #[default]
    Unconfined,
    /// Those of our own profile.
    RuntimeDefault,
    /// Those of the profile in this file of the host.
    Localhost(String),
}

/// Whose PID namespace a container is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PidMode {
    /// Nothing was said: as its pod has it.
    Inherit,
    /// The pod's; where the pod is on the host's, the host's.
    Pod,
    /// Its own.
    Container,
    /// The host's.
    Node,
    /// That of another container of the pod.
    Target(String),
}

impl Resources {
    /// These limits with those of an update over them: what is zero or empty there stays as it is.
    #[must_use]
    pub fn updated(&self, asked: &Self) -> Self {
        let number = |new: i64, old: i64| if new == 0 { old } else { new };
        let text = |new: &String, old: &String| if new.is_empty() { old.clone() } else { new.clone() };
        let memory_limit = number(asked.memory_limit, self.memory_limit);
        let memory_swap_limit = match asked.memory_swap_limit {
            // Memory and swap together cannot be less than memory alone: the swap that was allowed stays.
            0 if self.memory_swap_limit > 0 && memory_limit > 0 => {
                memory_limit.saturating_add((self.memory_swap_limit - self.memory_limit).max(0))
            }
            0 => self.memory_swap_limit,
            swap => swap,
        };
        Self {
            cpu_period: number(asked.cpu_period, self.cpu_period),
            cpu_quota: number(asked.cpu_quota, self.cpu_quota),
            cpu_shares: number(asked.cpu_shares, self.cpu_shares),
            memory_limit,
            memory_swap_limit,
            oom_score_adj: number(asked.oom_score_adj, self.oom_score_adj),
            cpuset_cpus: text(&asked.cpuset_cpus, &self.cpuset_cpus),
            cpuset_mems: text(&asked.cpuset_mems, &self.cpuset_mems),
            hugepages: over(&self.hugepages, &asked.hugepages),
            unified: over(&self.unified, &asked.unified),
        }
    }
}

impl Resources {
    /// These limits with those of `other` that they do not have spelled out as "no limit", so that giving them to a
    /// runtime takes `other` back whole. Sets of CPUs cannot be spelled so; `other`'s stay.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        /// cgroup v1's own values for "nothing was asked" (cpu.shares, cpu.cfs_period_us).
        const SHARES: i64 = 1024;
        const PERIOD: i64 = 100_000;
        let free = |mine: i64, theirs: i64, free: i64| if mine == 0 && theirs != 0 { free } else { mine };
        Self {
            cpu_period: free(self.cpu_period, other.cpu_period, PERIOD),
            cpu_quota: free(self.cpu_quota, other.cpu_quota, -1),
            cpu_shares: free(self.cpu_shares, other.cpu_shares, SHARES),
            memory_limit: free(self.memory_limit, other.memory_limit, -1),
            memory_swap_limit: free(
                self.memory_swap_limit,
                if other.memory_limit != 0 { other.memory_limit } else { other.memory_swap_limit },
                -1,
            ),
            ..self.clone()
        }
    }
}

/// The old entries with the new ones over them.
fn over<V: Clone>(old: &BTreeMap<String, V>, new: &BTreeMap<String, V>) -> BTreeMap<String, V> {
    old.iter().chain(new).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Who the process is and what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// User that was asked for; `None`: the image's.
    pub run_as_user: Option<u32>,
    /// User that was asked for by name; empty: none was.
    #[serde(default)]
    pub run_as_username: String,
    /// Group that was asked for; `None`: the image's, else 0.
    pub run_as_group: Option<u32>,
    /// Further groups.
    pub supplemental_groups: Vec<u32>,
    /// Which of the image's groups come with them.
    #[serde(default)]
    pub groups_policy: GroupsPolicy,
    /// Capabilities to add to the default ones, without `CAP_`; `ALL` is a name too.
    pub add_capabilities: Vec<String>,
    /// Capabilities to drop.
    pub drop_capabilities: Vec<String>,
    /// Capabilities that a program without file capabilities keeps too.
    #[serde(default)]
    pub ambient_capabilities: Vec<String>,
    /// Nothing is kept from it: all capabilities, all devices, no profile, no hidden path.
    #[serde(default)]
    pub privileged: bool,
    /// The root file system cannot be written.
    pub readonly_rootfs: bool,
    /// No process inside can gain privileges by executing a file.
    pub no_new_privs: bool,
    /// Paths hidden from the container.
    pub masked_paths: Vec<String>,
    /// Paths it cannot write.
    pub readonly_paths: Vec<String>,
    /// The system calls it may make.
    #[serde(default)]
    pub seccomp: Seccomp,
    /// The PID namespace.
    pub pid: PidMode,
}

/// What a container is to be, as checked from the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// The kubelet's name for it.
    pub name: ContainerName,
    /// The image as the request names it.
    pub image: String,
    /// The image as the user named it; may be empty.
    pub user_specified_image: String,
    /// In place of the image's entry point; may be empty.
    pub command: Vec<String>,
    /// In place of the image's command; may be empty.
    pub args: Vec<String>,
    /// Absolute; empty: the image's.
    pub working_dir: String,
    /// Over those of the image.
    pub envs: Vec<(String, String)>,
    /// Bind mounts.
    pub mounts: Vec<Mount>,
    /// Devices of the host.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// Labels, for the kubelet.
    pub labels: BTreeMap<String, String>,
    /// Annotations, for the kubelet.
    pub annotations: BTreeMap<String, String>,
    /// The log below the sandbox's log folder; may be empty.
    pub log_path: String,
    /// Keep stdin open.
    pub stdin: bool,
    /// Close it after the first client.
    pub stdin_once: bool,
    /// A pseudo terminal.
    pub tty: bool,
    /// Limits.
    pub resources: Resources,
    /// Who it is.
    pub security: Security,
    /// A signal that overrides the image's; `None`: the image's, else SIGTERM.
    pub stop_signal: Option<String>,
}

/// The user of the first process, resolved in the image's files. It stands in the mark of being made whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// All groups, the first one too, sorted.
    pub groups: Vec<u32>,
    /// Its home folder, where the image names one.
    pub home: Option<String>,
}

/// A container on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerFacts {
    /// [`FACTS_VERSION`] of the writer.
    pub version: u32,
    /// Its id.
    pub id: String,
    /// Its sandbox.
    pub sandbox_id: String,
    /// What was asked.
    pub config: ContainerConfig,
    /// The runtime's name, resolved.
    pub runtime: String,
    /// Parent of its cgroup, resolved.
    pub cgroup_parent: String,
    /// The image's id.
    pub image_id: String,
    /// What `imageID` shows: a repository digest, else the id.
    pub image_ref: String,
    /// The image's name for people: never empty.
    pub image_name: String,
    /// Absolute path of the log; empty: none.
    pub log_path: String,
    /// It is in a PID namespace that others share: its first process's end does not end the rest.
    #[serde(default)]
    pub shares_pids: bool,
    /// The image's own wish for a user: `user[:group]`, names or numbers; may be empty.
    #[serde(default)]
    pub image_user: String,
    /// Folders that the image declares as volumes.
    #[serde(default)]
    pub image_volumes: Vec<String>,
    /// Signal number that asks it to stop.
    pub stop_signal: u8,
    /// Nanoseconds since the epoch.
    pub created_at: i64,
}

impl ContainerFacts {
    /// Of a container whose record cannot be read: it shows, in no sandbox, and can be removed.
    pub fn unreadable(id: &str, (runtime, cgroup_parent): (String, String), created_at: i64) -> Self {
        let name = format!("unreadable-{}", id.get(..12).unwrap_or(id));
        let security = Security {
            run_as_user: None,
            run_as_username: String::new(),
            run_as_group: None,
            supplemental_groups: Vec::new(),
            groups_policy: GroupsPolicy::default(),
            add_capabilities: Vec::new(),
            drop_capabilities: Vec::new(),
            ambient_capabilities: Vec::new(),
            privileged: false,
            readonly_rootfs: false,
            no_new_privs: false,
            masked_paths: Vec::new(),
            readonly_paths: Vec::new(),
            seccomp: Seccomp::default(),
            pid: PidMode::Container,
        };
        let config = ContainerConfig {
            name: ContainerName { name, attempt: 0 },
            image: String::new(),
            user_specified_image: String::new(),
            command: Vec::new(),
            args: Vec::new(),
            working_dir: String::new(),
            envs: Vec::new(),
            mounts: Vec::new(),
            devices: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            log_path: String::new(),
            stdin: false,
            stdin_once: false,
            tty: false,
            resources: Resources::default(),
            security,
            stop_signal: None,
        };
        Self {
            version: FACTS_VERSION,
            id: id.to_owned(),
            sandbox_id: String::new(),
            config,
            runtime,
            cgroup_parent,
            image_id: String::new(),
            image_ref: String::new(),
            image_name: String::new(),
            log_path: String::new(),
            shares_pids: false,
            image_user: String::new(),
            image_volumes: Vec::new(),
            // SIGTERM.
            stop_signal: 15,
            created_at,
        }
    }
}
