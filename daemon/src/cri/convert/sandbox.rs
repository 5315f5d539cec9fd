//! A sandbox's wish, checked.
//!
//! Never: a default that the host decides.

use cri_api::v1;
use tonic::Status;

use super::{
    checks::{absolute, labels, list, name, required, word},
    ports::ports,
    security::{selinux, users},
    sysctls::sysctls,
};
use crate::{
    cri::error::invalid,
    oci::spec::SecurityModules,
    sandbox::{Dns, SandboxConfig, SandboxName, Sharing},
};

/// Longest host name: what the kernel keeps (`__NEW_UTS_LEN`).
const HOSTNAME_MAX: usize = 64;

/// Checks and converts.
pub(in crate::cri) fn sandbox_config(
    config: Option<&v1::PodSandboxConfig>,
    handler: &str,
    modules: SecurityModules,
) -> Result<SandboxConfig, Status> {
    let config = config.ok_or_else(|| invalid("config is missing"))?;
    let metadata = config.metadata.as_ref().ok_or_else(|| invalid("config.metadata is missing"))?;
    let linux = config.linux.clone().unwrap_or_default();
    let security = linux.security_context.clone().unwrap_or_default();
    refuse(&security, modules)?;
    let namespaces = security.namespace_options.as_ref();
    let network = namespace(namespaces.map(|n| n.network), "network", &[Sharing::Pod, Sharing::Node])?;
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
        // The wire's default, 0, is the pod's; the kubelet says CONTAINER.
        pid: namespace(namespaces.map(|n| n.pid), "pid", &[Sharing::Pod, Sharing::Container, Sharing::Node])?,
        ipc,
        cgroup_parent: cgroup_parent(&linux.cgroup_parent)?,
        privileged: security.privileged,
        // On the host's network every port is the host's already.
        ports: if network == Sharing::Pod { ports(&config.port_mappings)? } else { Vec::new() },
        sysctls: sysctls(&linux.sysctls, network, ipc)?,
    })
}

fn refuse(security: &v1::LinuxSandboxSecurityContext, modules: SecurityModules) -> Result<(), Status> {
    let context = "config.linux.security_context";
    selinux(security.selinux_options.as_ref(), modules)?;
    if security.run_as_group.is_some() && security.run_as_user.is_none() {
        return Err(invalid(format!("{context}.run_as_group needs run_as_user beside it")));
    }
    users(security.namespace_options.as_ref(), context)
    // Users, groups and profiles of the sandbox are about a process of its own. The only one there ever is holds a
    // shared PID namespace: it has no rights and no files, which is less than any of them could ask for.
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

fn cgroup_parent(value: &str) -> Result<String, Status> {
    if value.is_empty() || value.ends_with(".slice") && !value.contains('/') {
        return name(value, "config.linux.cgroup_parent");
    }
    absolute(value, "config.linux.cgroup_parent")
}
