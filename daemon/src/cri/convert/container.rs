//! A container's wish, checked.
//!
//! Never: resolves an image or a user.

use cri_api::v1;
use tonic::Status;

use super::{
    checks::{absolute, id, labels, list, name, relative, required, text, together, unsupported},
    sandbox::{optional_path, pid},
};
use crate::{
    container::{ContainerConfig, ContainerName, Mount, Propagation, Resources, Security},
    cri::error::invalid,
};

/// Paths hidden where the request has no security context: what the kubelet's default is.
const MASKED: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
];
/// Paths that cannot be written where the request has no security context.
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Range of `oom_score_adj` (proc(5)).
const OOM_SCORE_ADJ: std::ops::RangeInclusive<i64> = -1000..=1000;

/// Checks and converts.
pub(in crate::cri) fn container_config(
    config: Option<&v1::ContainerConfig>,
) -> Result<ContainerConfig, Status> {
    let config = config.ok_or_else(|| invalid("config is missing"))?;
    let metadata = config.metadata.as_ref().ok_or_else(|| invalid("config.metadata is missing"))?;
    let image = config.image.as_ref().ok_or_else(|| invalid("config.image is missing"))?;
    unsupported(!config.devices.is_empty(), "config.devices")?;
    unsupported(!config.cdi_devices.is_empty(), "config.CDI_devices")?;
    let linux = config.linux.clone().unwrap_or_default();
    Ok(ContainerConfig {
        name: ContainerName {
            name: required(&metadata.name, "config.metadata.name")?,
            attempt: metadata.attempt,
        },
        image: required(&image.image, "config.image.image")?,
        user_specified_image: name(&image.user_specified_image, "config.image.user_specified_image")?,
        command: texts(&config.command, "config.command")?,
        args: texts(&config.args, "config.args")?,
        working_dir: optional_path(&config.working_dir, "config.working_dir")?,
        envs: envs(&config.envs)?,
        mounts: list(&config.mounts, "config.mounts")?.iter().map(mount).collect::<Result<_, _>>()?,
        labels: labels(&config.labels, "config.labels")?,
        annotations: labels(&config.annotations, "config.annotations")?,
        log_path: relative(&config.log_path, "config.log_path")?,
        stdin: config.stdin,
        stdin_once: config.stdin_once,
        tty: config.tty,
        resources: resources(&linux.resources.unwrap_or_default())?,
        security: security(linux.security_context.as_ref())?,
        stop_signal: stop_signal(config.stop_signal)?,
    })
}

fn texts(values: &[String], field: &str) -> Result<Vec<String>, Status> {
    together(values.iter().map(String::len).sum(), field)?;
    list(values, field)?.iter().map(|value| text(value, field)).collect()
}

fn envs(values: &[v1::KeyValue]) -> Result<Vec<(String, String)>, Status> {
    together(values.iter().map(|env| env.key.len() + env.value.len()).sum(), "config.envs")?;
    let one = |env: &v1::KeyValue| {
        let key = text(&env.key, "config.envs.key")?;
        if key.is_empty() || key.contains('=') {
            return Err(invalid(format!("config.envs.key {key:?} is no name of a variable")));
        }
        // The wire allows any bytes; a spec is JSON and does not.
        let value = std::str::from_utf8(&env.value)
            .map_err(|_| invalid(format!("config.envs: the value of {key} is not UTF-8")))?;
        Ok((key, text(value, "config.envs.value")?))
    };
    list(values, "config.envs")?.iter().map(one).collect()
}

fn mount(mount: &v1::Mount) -> Result<Mount, Status> {
    unsupported(mount.image.is_some(), "config.mounts.image")?;
    unsupported(!mount.image_sub_path.is_empty(), "config.mounts.image_sub_path")?;
    unsupported(mount.selinux_relabel, "config.mounts.selinux_relabel")?;
    unsupported(mount.recursive_read_only, "config.mounts.recursive_read_only")?;
    unsupported(!mount.uid_mappings.is_empty(), "config.mounts.uidMappings")?;
    unsupported(!mount.gid_mappings.is_empty(), "config.mounts.gidMappings")?;
    let propagation = match v1::MountPropagation::try_from(mount.propagation) {
        Ok(v1::MountPropagation::PropagationPrivate) => Propagation::Private,
        Ok(v1::MountPropagation::PropagationHostToContainer) => Propagation::HostToContainer,
        Ok(v1::MountPropagation::PropagationBidirectional) => Propagation::Bidirectional,
        Err(_) => return Err(invalid(format!("config.mounts.propagation {} is unknown", mount.propagation))),
    };
    Ok(Mount {
        container_path: absolute(&mount.container_path, "config.mounts.container_path")?,
        host_path: absolute(&mount.host_path, "config.mounts.host_path")?,
        readonly: mount.readonly,
        propagation,
    })
}

/// Limits; zero or empty: none, or in an update: as they are.
pub(in crate::cri) fn resources(asked: &v1::LinuxContainerResources) -> Result<Resources, Status> {
    unsupported(!asked.hugepage_limits.is_empty(), "config.linux.resources.hugepage_limits")?;
    unsupported(!asked.unified.is_empty(), "config.linux.resources.unified")?;
    let limit = |value: i64, field: &str| {
        if value < -1 {
            Err(invalid(format!("config.linux.resources.{field} {value} is negative")))
        } else {
            Ok(value)
        }
    };
    if !OOM_SCORE_ADJ.contains(&asked.oom_score_adj) {
        return Err(invalid("config.linux.resources.oom_score_adj must be -1000 to 1000"));
    }
    Ok(Resources {
        cpu_period: limit(asked.cpu_period, "cpu_period")?,
        cpu_quota: limit(asked.cpu_quota, "cpu_quota")?,
        cpu_shares: limit(asked.cpu_shares, "cpu_shares")?,
        memory_limit: limit(asked.memory_limit_in_bytes, "memory_limit_in_bytes")?,
        memory_swap_limit: limit(asked.memory_swap_limit_in_bytes, "memory_swap_limit_in_bytes")?,
        oom_score_adj: asked.oom_score_adj,
        cpuset_cpus: cpu_list(&asked.cpuset_cpus, "cpuset_cpus")?,
        cpuset_mems: cpu_list(&asked.cpuset_mems, "cpuset_mems")?,
    })
}

fn cpu_list(value: &str, field: &str) -> Result<String, Status> {
    if value.chars().all(|c| c.is_ascii_digit() || c == ',' || c == '-') {
        return name(value, field);
    }
    Err(invalid(format!("config.linux.resources.{field} {value:?} is no list like 0-3,5")))
}

fn security(asked: Option<&v1::LinuxContainerSecurityContext>) -> Result<Security, Status> {
    let Some(asked) = asked else {
        return Ok(Security {
            run_as_user: None,
            run_as_group: None,
            supplemental_groups: Vec::new(),
            add_capabilities: Vec::new(),
            drop_capabilities: Vec::new(),
            readonly_rootfs: false,
            no_new_privs: false,
            masked_paths: MASKED.map(str::to_owned).into(),
            readonly_paths: READONLY.map(str::to_owned).into(),
            pid: crate::sandbox::Sharing::Container,
        });
    };
    refuse(asked)?;
    let context = "config.linux.security_context";
    let capabilities = asked.capabilities.clone().unwrap_or_default();
    unsupported(
        !capabilities.add_ambient_capabilities.is_empty(),
        &format!("{context}.capabilities.add_ambient_capabilities"),
    )?;
    let uid = |value: &Option<v1::Int64Value>, field: &str| {
        value.as_ref().map(|value| id(value.value, field)).transpose()
    };
    if asked.run_as_group.is_some() && asked.run_as_user.is_none() {
        return Err(invalid(format!("{context}.run_as_group needs run_as_user beside it")));
    }
    let paths = |values: &[String], field: &str| -> Result<Vec<String>, Status> {
        list(values, field)?.iter().map(|value| absolute(value, field)).collect()
    };
    Ok(Security {
        run_as_user: uid(&asked.run_as_user, "run_as_user")?,
        run_as_group: uid(&asked.run_as_group, "run_as_group")?,
        supplemental_groups: list(&asked.supplemental_groups, "supplemental_groups")?
            .iter()
            .map(|group| id(*group, "supplemental_groups"))
            .collect::<Result<_, _>>()?,
        add_capabilities: capabilities.add_capabilities,
        drop_capabilities: capabilities.drop_capabilities,
        readonly_rootfs: asked.readonly_rootfs,
        no_new_privs: asked.no_new_privs,
        // An empty list is a wish: nothing is hidden (ProcMount: Unmasked).
        masked_paths: paths(&asked.masked_paths, "masked_paths")?,
        readonly_paths: paths(&asked.readonly_paths, "readonly_paths")?,
        pid: pid(asked.namespace_options.as_ref())?,
    })
}

fn refuse(asked: &v1::LinuxContainerSecurityContext) -> Result<(), Status> {
    let context = "config.linux.security_context";
    let field = |name: &str| format!("{context}.{name}");
    unsupported(asked.privileged, &field("privileged"))?;
    let selinux = asked.selinux_options.as_ref().is_some_and(|o| *o != v1::SeLinuxOption::default());
    unsupported(selinux, &field("selinux_options"))?;
    unsupported(!asked.run_as_username.is_empty(), &field("run_as_username"))?;
    let confined = |profile: &Option<v1::SecurityProfile>| {
        let unconfined = v1::security_profile::ProfileType::Unconfined as i32;
        profile.as_ref().is_some_and(|profile| profile.profile_type != unconfined)
    };
    unsupported(confined(&asked.seccomp), &field("seccomp (but Unconfined)"))?;
    unsupported(confined(&asked.apparmor), &field("apparmor (but Unconfined)"))?;
    #[allow(deprecated, reason = "old clients still send these")]
    let (apparmor, seccomp) = (&asked.apparmor_profile, &asked.seccomp_profile_path);
    let free = ["", "unconfined"];
    unsupported(!free.contains(&apparmor.as_str()), &field("apparmor_profile"))?;
    unsupported(!free.contains(&seccomp.as_str()), &field("seccomp_profile_path"))?;
    let users = asked.namespace_options.as_ref().and_then(|n| n.userns_options.as_ref());
    let own_users = users.is_some_and(|users| users.mode != v1::NamespaceMode::Node as i32);
    unsupported(own_users, &field("namespace_options.userns_options"))
}

/// `SIGRTMINPLUS3` is how protobuf has to spell `SIGRTMIN+3`.
fn stop_signal(value: i32) -> Result<Option<String>, Status> {
    match v1::Signal::try_from(value) {
        Ok(v1::Signal::RuntimeDefault) => Ok(None),
        Ok(signal) => Ok(Some(signal.as_str_name().replace("PLUS", "+").replace("MINUS", "-"))),
        Err(_) => Err(invalid(format!("config.stop_signal {value} is unknown"))),
    }
}
