//! What was asked of a sandbox: checked, immutable, on disk before anything else of it exists (I3).
//!
//! Owns: the domain's words for a pod's environment. Never: protobuf; `cri::convert` makes these.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

/// Version of the facts' form. A reader refuses a higher one.
pub const FACTS_VERSION: u32 = 1;

/// The kubelet's name for a sandbox; unique on a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SandboxName {
    /// Name of the pod.
    pub name: String,
    /// The pod's Kubernetes namespace.
    pub namespace: String,
    /// The pod's uid.
    pub uid: String,
    /// How often the sandbox was made anew.
    pub attempt: u32,
}

impl std::fmt::Display for SandboxName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} (uid {}, attempt {})", self.namespace, self.name, self.uid, self.attempt)
    }
}

/// Whose namespace of a kind a pod uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// One for the pod.
    Pod,
    /// One for each container.
    Container,
    /// The host's.
    Node,
}

/// Name resolution of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Name servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

/// What is carried to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// A port of the host that leads to one of the pod's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortMapping {
    /// What is carried.
    pub protocol: Protocol,
    /// On the host; not 0.
    pub host_port: u16,
    /// In the pod; not 0.
    pub container_port: u16,
    /// At this address of the host only; `None`, or an unspecified one: at all of them.
    pub host_ip: Option<IpAddr>,
}

impl PortMapping {
    /// Whether a packet could be meant for both.
    pub fn meets(&self, other: &Self) -> bool {
        let everywhere = |at: &IpAddr| at.is_unspecified();
        let same_place = match (&self.host_ip, &other.host_ip) {
            (Some(one), Some(two)) => one == two || everywhere(one) || everywhere(two),
            _ => true,
        };
        same_place && self.protocol == other.protocol && self.host_port == other.host_port
    }
}

/// What a sandbox is to be, as checked from the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxConfig {
    /// The kubelet's name for it.
    pub name: SandboxName,
    /// Host name inside; empty on the host's network.
    pub hostname: String,
    /// Folder of the containers' logs; may be empty.
    pub log_directory: String,
    /// Labels, for the kubelet.
    pub labels: BTreeMap<String, String>,
    /// Annotations, for the kubelet.
    pub annotations: BTreeMap<String, String>,
    /// The handler asked for; empty: the default.
    pub handler: String,
    /// Name resolution; `None`: the host's.
    pub dns: Option<Dns>,
    /// The network namespace: the pod's or the host's.
    pub network: Sharing,
    /// The PID namespace: the pod's, each container's or the host's.
    pub pid: Sharing,
    /// The IPC namespace: the pod's or the host's.
    pub ipc: Sharing,
    /// Parent of the containers' cgroups; empty: the daemon's default.
    pub cgroup_parent: String,
    /// Its containers may be privileged.
    #[serde(default)]
    pub privileged: bool,
    /// Ports of the host; facts of before there were any have none.
    #[serde(default)]
    pub ports: Vec<PortMapping>,
    /// Settings of the pod's namespaces: path below /proc/sys, and value.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
}

/// A sandbox on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxFacts {
    /// [`FACTS_VERSION`] of the writer.
    pub version: u32,
    /// Its id.
    pub id: String,
    /// What was asked.
    pub config: SandboxConfig,
    /// Nanoseconds since the epoch.
    pub created_at: i64,
    /// The boot in which it was made: in another one its namespaces are gone. Empty: not known.
    pub boot_id: String,
}

impl SandboxFacts {
    /// Of a sandbox whose record cannot be read: it shows, is not ready, and can be removed.
    pub fn unreadable(id: &str, created_at: i64) -> Self {
        let name = format!("unreadable-{}", id.get(..12).unwrap_or(id));
        let config = SandboxConfig {
            name: SandboxName { name, namespace: String::new(), uid: String::new(), attempt: 0 },
            hostname: String::new(),
            log_directory: String::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            handler: String::new(),
            dns: None,
            network: Sharing::Pod,
            pid: Sharing::Container,
            ipc: Sharing::Pod,
            cgroup_parent: String::new(),
            privileged: false,
            ports: Vec::new(),
            sysctls: BTreeMap::new(),
        };
        Self { version: FACTS_VERSION, id: id.to_owned(), config, created_at, boot_id: String::new() }
    }
}
