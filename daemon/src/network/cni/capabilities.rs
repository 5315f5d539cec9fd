//! What a pod asks for that plugins may be told of: the arguments of all capabilities that we know.
//!
//! Owns: their form (CNI conventions, "dynamic plugin specific fields"). Never: which plugin wants one.

use serde_json::{Map, Value, json};

use super::{bandwidth, conflist::Plugin};
use crate::{
    network::NetworkError,
    sandbox::{PortMapping, SandboxConfig},
};

/// Name of the capability of host ports.
pub(super) const PORTS: &str = "portMappings";

/// All arguments of a pod, by capability.
pub(super) fn arguments(config: &SandboxConfig) -> Result<Map<String, Value>, NetworkError> {
    let mut all = Map::new();
    if !config.ports.is_empty() {
        all.insert(PORTS.into(), config.ports.iter().map(port).collect());
    }
    if let Some(bandwidth) = bandwidth::argument(&config.annotations)? {
        all.insert("bandwidth".into(), bandwidth);
    }
    if let Some(dns) = &config.dns {
        let argument = json!({ "servers": dns.servers, "searches": dns.searches, "options": dns.options });
        all.insert("dns".into(), argument);
    }
    if !config.annotations.is_empty() {
        all.insert("io.kubernetes.cri.pod-annotations".into(), json!(config.annotations));
    }
    Ok(all)
}

/// Those that one plugin wants.
pub(super) fn wanted(plugin: &Plugin, all: &Map<String, Value>) -> Map<String, Value> {
    let wanted = all.iter().filter(|(name, _)| plugin.has_capability(name));
    wanted.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn port(port: &PortMapping) -> Value {
    json!({
        "hostPort": port.host_port,
        "containerPort": port.container_port,
        "protocol": port.protocol.name().to_lowercase(),
        "hostIP": port.host_ip.map(|at| at.to_string()).unwrap_or_default(),
    })
}
