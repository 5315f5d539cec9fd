//! A container's wish, checked.
//!
//! Never: resolves an image or a user.

use cri_api::v1;
use tonic::Status;

use super::{
    checks::{absolute, labels, list, name, relative, required, text, together, unsupported},
    resources::resources,
    sandbox::optional_path,
    security::security,
};
use crate::{
    container::{ContainerConfig, ContainerName, Device, Mount, Propagation},
    cri::error::invalid,
    oci::spec::{HostLimits, SecurityModules},
};

/// Checks and converts.
pub(in crate::cri) fn container_config(
    config: Option<&v1::ContainerConfig>,
    host: &HostLimits,
) -> Result<ContainerConfig, Status> {
    let config = config.ok_or_else(|| invalid("config is missing"))?;
    let metadata = config.metadata.as_ref().ok_or_else(|| invalid("config.metadata is missing"))?;
    let image = config.image.as_ref().ok_or_else(|| invalid("config.image is missing"))?;
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
        mounts: mounts(&config.mounts, host.modules)?,
        devices: list(&config.devices, "config.devices")?.iter().map(device).collect::<Result<_, _>>()?,
        labels: labels(&config.labels, "config.labels")?,
        annotations: labels(&config.annotations, "config.annotations")?,
        log_path: relative(&config.log_path, "config.log_path")?,
        stdin: config.stdin,
        stdin_once: config.stdin_once,
        tty: config.tty,
        resources: resources(&linux.resources.unwrap_or_default(), host.cgroup_v2)?,
        security: security(linux.security_context.as_ref(), host)?,
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

fn mounts(asked: &[v1::Mount], modules: SecurityModules) -> Result<Vec<Mount>, Status> {
    list(asked, "config.mounts")?.iter().map(|one| mount(one, modules)).collect()
}

fn mount(mount: &v1::Mount, modules: SecurityModules) -> Result<Mount, Status> {
    unsupported(mount.image.is_some(), "config.mounts.image")?;
    unsupported(!mount.image_sub_path.is_empty(), "config.mounts.image_sub_path")?;
    // The kubelet sets it on nearly every mount; where SELinux is off there is nothing to label.
    unsupported(
        mount.selinux_relabel && modules.selinux,
        "config.mounts.selinux_relabel on a host with SELinux",
    )?;
    unsupported(!mount.uid_mappings.is_empty(), "config.mounts.uidMappings")?;
    unsupported(!mount.gid_mappings.is_empty(), "config.mounts.gidMappings")?;
    let propagation = match v1::MountPropagation::try_from(mount.propagation) {
        Ok(v1::MountPropagation::PropagationPrivate) => Propagation::Private,
        Ok(v1::MountPropagation::PropagationHostToContainer) => Propagation::HostToContainer,
        Ok(v1::MountPropagation::PropagationBidirectional) => Propagation::Bidirectional,
        Err(_) => return Err(invalid(format!("config.mounts.propagation {} is unknown", mount.propagation))),
    };
    let recursive = mount.recursive_read_only;
    if recursive && (!mount.readonly || propagation != Propagation::Private) {
        return Err(invalid(
            "config.mounts.recursive_read_only needs readonly and propagation PRIVATE beside it",
        ));
    }
    // A relative one is taken below the root, as the CRI wants it.
    let inside = format!("/{}", mount.container_path.trim_start_matches('/'));
    if inside.split('/').all(|part| part.is_empty() || part == ".") {
        return Err(invalid(format!(
            "config.mounts.container_path {:?} is the root itself",
            mount.container_path
        )));
    }
    Ok(Mount {
        container_path: absolute(&inside, "config.mounts.container_path")?,
        host_path: absolute(&mount.host_path, "config.mounts.host_path")?,
        readonly: mount.readonly,
        recursive_read_only: recursive,
        selinux_relabel: mount.selinux_relabel,
        propagation,
    })
}

fn device(device: &v1::Device) -> Result<Device, Status> {
    let permissions = &device.permissions;
    if permissions.is_empty() || permissions.chars().any(|c| !"rwm".contains(c)) {
        return Err(invalid(format!("config.devices.permissions {permissions:?} must be letters of rwm")));
    }
    Ok(Device {
        container_path: absolute(&device.container_path, "config.devices.container_path")?,
        host_path: absolute(&device.host_path, "config.devices.host_path")?,
        permissions: permissions.clone(),
    })
}

/// `SIGRTMINPLUS3` is how protobuf has to spell `SIGRTMIN+3`.
fn stop_signal(value: i32) -> Result<Option<String>, Status> {
    match v1::Signal::try_from(value) {
        Ok(v1::Signal::RuntimeDefault) => Ok(None),
        Ok(signal) => Ok(Some(signal.as_str_name().replace("PLUS", "+").replace("MINUS", "-"))),
        Err(_) => Err(invalid(format!("config.stop_signal {value} is unknown"))),
    }
}
