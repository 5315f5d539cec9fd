//! A sandbox's wish, checked.
//!
//! Never: a default that the host decides.

use cri_api::v1;
use tonic::Status;

use super::checks::{absolute, labels, list, name, required, unsupported, word};
use crate::{
    cri::error::invalid,
    sandbox::{Dns, SandboxConfig, SandboxName, Sharing},
};

/// Longest host name: what the kernel keeps (`__NEW_UTS_LEN`).
const HOSTNAME_MAX: usize = 64;

/// Checks and converts.
pub(in crate::cri) fn sandbox_config(
    config: Option<&v1::PodSandboxConfig>,
    handler: &str,
) -> Result<SandboxConfig, Status> {
    let config = config.ok_or_else(|| invalid("config is missing"))?;
    let metadata = config.metadata.as_ref().ok_or_else(|| invalid("config.metadata is missing"))?;
    let linux = config.linux.clone().unwrap_or_default();
    let security = linux.security_context.clone().unwrap_or_default();
    refuse(&linux, &security)?;
    let namespaces = security.namespace_options.as_ref();
    let network = namespace(namespaces.map(|n| n.network), "network", &[Sharing::Pod, Sharing::Node])?;
    let host_ports = config.port_mappings.iter().any(|port| port.host_port > 0);
    unsupported(host_ports && network == Sharing::Pod, "config.port_mappings.host_port")?;
    let ipc = namespace(namespaces.map(|n| n.ipc), "ipc", &[Sharing::Pod, Sharing::Node])?;
    Ok(SandboxConfig {
        name: SandboxName {
            name: required(&metadata.name, "config.metadata.name")?,
            namespace: required(&metadata.namespace, "config.metadata.namespace")?,
            uid: required(&metadata.uid, "config.metadata.uid")?,
            attempt: metadata.attempt,
        },
        hostname: if network == Sharing::Node { String::new() } else { hostname(&config.hostname)? },
        log_directory: optional_path(&config.log_directory, "config.log_directory")?,
        labels: labels(&config.labels, "config.labels")?,
        annotations: labels(&config.annotations, "config.annotations")?,
        handler: name(handler, "runtime_handler")?,
        dns: config.dns_config.as_ref().map(dns).transpose()?,
        network,
        pid: pid(namespaces)?,
        ipc,
        cgroup_parent: cgroup_parent(&linux.cgroup_parent)?,
    })
}

fn refuse(
    linux: &v1::LinuxPodSandboxConfig,
    security: &v1::LinuxSandboxSecurityContext,
) -> Result<(), Status> {
    let context = "config.linux.security_context";
    unsupported(!linux.sysctls.is_empty(), "config.linux.sysctls")?;
    unsupported(security.privileged, &format!("{context}.privileged"))?;
    let selinux = security.selinux_options.as_ref().is_some_and(|o| *o != v1::SeLinuxOption::default());
    unsupported(selinux, &format!("{context}.selinux_options"))?;
    let users = security.namespace_options.as_ref().and_then(|n| n.userns_options.as_ref());
    let own_users = users.is_some_and(|users| users.mode != v1::NamespaceMode::Node as i32);
    unsupported(own_users, &format!("{context}.namespace_options.userns_options"))
    // Users, groups, profiles of the sandbox are about its own process; there is none.
}

fn hostname(value: &str) -> Result<String, Status> {
    if value.is_empty() {
        return Ok(String::new());
    }
    if value.len() > HOSTNAME_MAX {
        return Err(invalid(format!("config.hostname is longer than {HOSTNAME_MAX} bytes")));
    }
    word(value, "config.hostname")
}

pub(super) fn optional_path(value: &str, field: &str) -> Result<String, Status> {
    if value.is_empty() { Ok(String::new()) } else { absolute(value, field) }
}

fn dns(config: &v1::DnsConfig) -> Result<Dns, Status> {
    let words = |values: &[String], field: &str| -> Result<Vec<String>, Status> {
        list(values, field)?.iter().map(|value| word(value, field)).collect()
    };
    Ok(Dns {
        servers: words(&config.servers, "config.dns_config.servers")?,
        searches: words(&config.searches, "config.dns_config.searches")?,
        options: words(&config.options, "config.dns_config.options")?,
    })
}

/// A namespace's mode; not given at all is the pod's own.
fn namespace(mode: Option<i32>, what: &str, allowed: &[Sharing]) -> Result<Sharing, Status> {
    let asked = match mode.map(v1::NamespaceMode::try_from) {
        None | Some(Ok(v1::NamespaceMode::Pod)) => Sharing::Pod,
        Some(Ok(v1::NamespaceMode::Container)) => Sharing::Container,
        Some(Ok(v1::NamespaceMode::Node)) => Sharing::Node,
        Some(Ok(v1::NamespaceMode::Target) | Err(_)) => {
            return Err(invalid(format!("namespace_options.{what}: this mode is not supported yet")));
        }
    };
    if allowed.contains(&asked) {
        Ok(asked)
    } else {
        Err(invalid(format!("namespace_options.{what}: mode {asked:?} is not supported yet")))
    }
}

/// The PID namespace. Where nothing is said each container has its own, as the kubelet wants by default.
pub(super) fn pid(options: Option<&v1::NamespaceOption>) -> Result<Sharing, Status> {
    match options {
        None => Ok(Sharing::Container),
        Some(options) => namespace(Some(options.pid), "pid", &[Sharing::Container, Sharing::Node]),
    }
}

fn cgroup_parent(value: &str) -> Result<String, Status> {
    if value.is_empty() || value.ends_with(".slice") && !value.contains('/') {
        return name(value, "config.linux.cgroup_parent");
    }
    absolute(value, "config.linux.cgroup_parent")
}
