//! A container's security context, checked.
//!
//! Owns: what a host without SELinux or AppArmor may be asked. Never: resolves a user or reads a profile.

use cri_api::v1;
use tonic::Status;

use super::checks::{absolute, id, list, name, unsupported};
use crate::{
    container::{GroupsPolicy, PidMode, Seccomp, Security},
    cri::error::invalid,
    oci::spec::{HostLimits, SecurityModules},
};

/// Where the fields stand in a request.
const CONTEXT: &str = "config.linux.security_context";

/// Paths hidden where the request has no security context: what the kubelet's default is.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Paths that cannot be written where the request has no security context.
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Words of the deprecated profile strings that mean the runtime's own profile.
const DEFAULT_WORDS: [&str; 2] = ["runtime/default", "docker/default"];

fn nothing_asked(host: &HostLimits) -> Security {
    Security {
        run_as_user: None,
        run_as_username: String::new(),
        run_as_group: None,
        supplemental_groups: Vec::new(),
        groups_policy: GroupsPolicy::Merge,
        add_capabilities: Vec::new(),
        drop_capabilities: Vec::new(),
        ambient_capabilities: Vec::new(),
        privileged: false,
        readonly_rootfs: false,
        no_new_privs: false,
        masked_paths: MASKED.iter().map(|&path| path.to_owned()).chain(host.hidden.iter().cloned()).collect(),
        readonly_paths: READONLY.map(str::to_owned).into(),
        seccomp: Seccomp::Unconfined,
        pid: PidMode::Inherit,
    }
}

/// Checks and converts.
pub(super) fn security(
    asked: Option<&v1::LinuxContainerSecurityContext>,
    host: &HostLimits,
) -> Result<Security, Status> {
    let Some(asked) = asked else { return Ok(nothing_asked(host)) };
    let modules = host.modules;
    selinux(asked.selinux_options.as_ref(), modules)?;
    apparmor(asked, modules)?;
    users(asked.namespace_options.as_ref(), CONTEXT)?;
    let capabilities = asked.capabilities.clone().unwrap_or_default();
    let uid = |value: &Option<v1::Int64Value>, field: &str| {
        value.as_ref().map(|value| id(value.value, &format!("{CONTEXT}.{field}"))).transpose()
    };
    if asked.run_as_group.is_some() && asked.run_as_user.is_none() && asked.run_as_username.is_empty() {
        return Err(invalid(format!(
            "{CONTEXT}.run_as_group needs run_as_user or run_as_username beside it"
        )));
    }
    if asked.run_as_user.is_some() && !asked.run_as_username.is_empty() {
        return Err(invalid(format!("{CONTEXT}.run_as_user and run_as_username exclude each other")));
    }
    let paths = |values: &[String], field: &str| -> Result<Vec<String>, Status> {
        list(values, field)?.iter().map(|value| absolute(value, &format!("{CONTEXT}.{field}"))).collect()
    };
    Ok(Security {
        run_as_user: uid(&asked.run_as_user, "run_as_user")?,
        run_as_username: name(&asked.run_as_username, &format!("{CONTEXT}.run_as_username"))?,
        run_as_group: uid(&asked.run_as_group, "run_as_group")?,
        supplemental_groups: list(&asked.supplemental_groups, "supplemental_groups")?
            .iter()
            .map(|group| id(*group, &format!("{CONTEXT}.supplemental_groups")))
            .collect::<Result<_, _>>()?,
        groups_policy: groups_policy(asked.supplemental_groups_policy)?,
        add_capabilities: capabilities.add_capabilities,
        drop_capabilities: capabilities.drop_capabilities,
        ambient_capabilities: capabilities.add_ambient_capabilities,
        privileged: asked.privileged,
        readonly_rootfs: asked.readonly_rootfs,
        no_new_privs: asked.no_new_privs,
        // An empty list is a wish: nothing is hidden (ProcMount: Unmasked).
        masked_paths: paths(&asked.masked_paths, "masked_paths")?,
        readonly_paths: paths(&asked.readonly_paths, "readonly_paths")?,
        seccomp: seccomp(asked)?,
        pid: pid(asked.namespace_options.as_ref())?,
    })
}

fn groups_policy(value: i32) -> Result<GroupsPolicy, Status> {
    match v1::SupplementalGroupsPolicy::try_from(value) {
        Ok(v1::SupplementalGroupsPolicy::Merge) => Ok(GroupsPolicy::Merge),
        Ok(v1::SupplementalGroupsPolicy::Strict) => Ok(GroupsPolicy::Strict),
        Err(_) => Err(invalid(format!("{CONTEXT}.supplemental_groups_policy {value} is unknown"))),
    }
}

fn pid(options: Option<&v1::NamespaceOption>) -> Result<PidMode, Status> {
    let Some(options) = options else { return Ok(PidMode::Inherit) };
    match v1::NamespaceMode::try_from(options.pid) {
        Ok(v1::NamespaceMode::Pod) => Ok(PidMode::Pod),
        Ok(v1::NamespaceMode::Container) => Ok(PidMode::Container),
        Ok(v1::NamespaceMode::Node) => Ok(PidMode::Node),
        Ok(v1::NamespaceMode::Target) if options.target_id.is_empty() => {
            Err(invalid(format!("{CONTEXT}.namespace_options.target_id is empty; pid mode TARGET needs it")))
        }
        Ok(v1::NamespaceMode::Target) => {
            let field = format!("{CONTEXT}.namespace_options.target_id");
            Ok(PidMode::Target(name(&options.target_id, &field)?))
        }
        Err(_) => Err(invalid(format!("{CONTEXT}.namespace_options.pid {} is unknown", options.pid))),
    }
}

/// The new field, else the deprecated string.
fn seccomp(asked: &v1::LinuxContainerSecurityContext) -> Result<Seccomp, Status> {
    use v1::security_profile::ProfileType;
    let Some(profile) = &asked.seccomp else {
        #[allow(deprecated, reason = "old clients still send it")]
        return seccomp_words(&asked.seccomp_profile_path);
    };
    let field = format!("{CONTEXT}.seccomp");
    let kind = ProfileType::try_from(profile.profile_type)
        .map_err(|_| invalid(format!("{field}.profile_type {} is unknown", profile.profile_type)))?;
    if kind != ProfileType::Localhost && !profile.localhost_ref.is_empty() {
        return Err(invalid(format!(
            "{field}.localhost_ref is given, but the profile's type is not Localhost"
        )));
    }
    match kind {
        ProfileType::RuntimeDefault => Ok(Seccomp::RuntimeDefault),
        ProfileType::Unconfined => Ok(Seccomp::Unconfined),
        ProfileType::Localhost => localhost(&profile.localhost_ref, &format!("{field}.localhost_ref")),
    }
}

fn seccomp_words(words: &str) -> Result<Seccomp, Status> {
    let field = format!("{CONTEXT}.seccomp_profile_path");
    match words {
        "" | "unconfined" => Ok(Seccomp::Unconfined),
        words if DEFAULT_WORDS.contains(&words) => Ok(Seccomp::RuntimeDefault),
        words => match words.strip_prefix("localhost/") {
            Some(path) => localhost(path, &field),
            None => Err(invalid(format!("{field} {words:?} is no profile"))),
        },
    }
}

/// An empty path would mean no profile at all (CVE-2023-2431).
fn localhost(path: &str, field: &str) -> Result<Seccomp, Status> {
    Ok(Seccomp::Localhost(absolute(path, field)?))
}

/// SELinux options: nothing where SELinux is off, which is never an error.
pub(super) fn selinux(asked: Option<&v1::SeLinuxOption>, modules: SecurityModules) -> Result<(), Status> {
    let some = asked.is_some_and(|options| *options != v1::SeLinuxOption::default());
    unsupported(some && modules.selinux, &format!("{CONTEXT}.selinux_options on a host with SELinux"))
}

/// AppArmor: a host without it has no profiles, so only one that was named cannot be given.
fn apparmor(asked: &v1::LinuxContainerSecurityContext, modules: SecurityModules) -> Result<(), Status> {
    use v1::security_profile::ProfileType;
    #[allow(deprecated, reason = "the kubelet still sends it beside the new field")]
    let words = asked.apparmor_profile.as_str();
    let (field, kind) = match &asked.apparmor {
        Some(profile) => (format!("{CONTEXT}.apparmor"), ProfileType::try_from(profile.profile_type).ok()),
        None => {
            let kind = match words {
                "" | "unconfined" => Some(ProfileType::Unconfined),
                words if DEFAULT_WORDS.contains(&words) => Some(ProfileType::RuntimeDefault),
                words if words.starts_with("localhost/") => Some(ProfileType::Localhost),
                _ => None,
            };
            (format!("{CONTEXT}.apparmor_profile"), kind)
        }
    };
    match kind {
        Some(ProfileType::Unconfined) => Ok(()),
        Some(ProfileType::RuntimeDefault) => {
            unsupported(modules.apparmor, &format!("{field} (RuntimeDefault) on a host with AppArmor"))
        }
        Some(ProfileType::Localhost) if modules.apparmor => {
            unsupported(true, &format!("{field} (Localhost)"))
        }
        Some(ProfileType::Localhost) => {
            Err(invalid(format!("{field} names a profile, but AppArmor is not enabled on this host")))
        }
        None => Err(invalid(format!("{field} is no profile"))),
    }
}

/// User namespaces of a pod's own are for another version.
pub(super) fn users(options: Option<&v1::NamespaceOption>, context: &str) -> Result<(), Status> {
    let users = options.and_then(|options| options.userns_options.as_ref());
    let own_users = users.is_some_and(|users| users.mode != v1::NamespaceMode::Node as i32);
    unsupported(own_users, &format!("{context}.namespace_options.userns_options"))
}
