//! The spec's `linux`: namespaces, limits, hidden paths, devices, the system calls allowed.
//!
//! Never: process rights; those are in `process`.

use serde_json::{Map, Value, json};

use super::{DeviceNode, PidPlace, SpecError, SpecInputs, capabilities::Granted, limits, seccomp};
use crate::{
    container::{Propagation, Seccomp},
    sandbox::Sharing,
};

pub(super) fn linux(inputs: &SpecInputs<'_>, capabilities: &Granted) -> Result<Value, SpecError> {
    let config = &inputs.container.config;
    let shared = config.mounts.iter().any(|mount| mount.propagation == Propagation::Bidirectional);
    let slave = config.mounts.iter().any(|mount| mount.propagation == Propagation::HostToContainer);
    let propagation = match (shared, slave) {
        (true, _) => "rshared",
        (false, true) => "rslave",
        (false, false) => "rprivate",
    };
    let mut linux = json!({
        "cgroupsPath": inputs.cgroups_path,
        "namespaces": namespaces(inputs)?,
        "resources": resources(inputs),
        "rootfsPropagation": propagation,
    });
    if !inputs.found.devices.is_empty() {
        linux["devices"] = inputs.found.devices.iter().map(node).collect();
    }
    if config.security.privileged {
        return Ok(linux);
    }
    linux["maskedPaths"] = json!(config.security.masked_paths);
    linux["readonlyPaths"] = json!(config.security.readonly_paths);
    match &config.security.seccomp {
        Seccomp::Unconfined => {}
        Seccomp::RuntimeDefault => linux["seccomp"] = seccomp::runtime_default(&capabilities.all),
        Seccomp::Localhost(path) => {
            let missing = || SpecError::Seccomp { path: path.clone(), why: "it was not read".to_owned() };
            linux["seccomp"] = inputs.found.seccomp.clone().ok_or_else(missing)?;
        }
    }
    Ok(linux)
}

fn namespaces(inputs: &SpecInputs<'_>) -> Result<Vec<Value>, SpecError> {
    let pod = &inputs.sandbox.config;
    let security = &inputs.container.config.security;
    let mut all = vec![json!({ "type": "mount" })];
    match PidPlace::of(&security.pid, pod.pid)? {
        PidPlace::Own => all.push(json!({ "type": "pid" })),
        PidPlace::Pod => all.push(json!({ "type": "pid", "path": inputs.files.pid })),
        PidPlace::Target => all.push(json!({ "type": "pid", "path": inputs.found.target_pid })),
        PidPlace::Host => {}
    }
    if pod.ipc != Sharing::Node {
        all.push(json!({ "type": "ipc", "path": inputs.files.ipc }));
    }
    if pod.network != Sharing::Node {
        all.push(json!({ "type": "network", "path": inputs.files.net }));
        all.push(json!({ "type": "uts", "path": inputs.files.uts }));
    }
    // A privileged container may want to manage the host's.
    if inputs.host.cgroup_v2 && !security.privileged {
        all.push(json!({ "type": "cgroup" }));
    }
    Ok(all)
}

fn node(device: &DeviceNode) -> Value {
    json!({
        "path": device.path,
        "type": if device.block { "b" } else { "c" },
        "major": device.numbers.0,
        "minor": device.numbers.1,
        "fileMode": device.mode,
        "uid": device.owner.0,
        "gid": device.owner.1,
    })
}

fn access(device: &DeviceNode) -> Value {
    let kind = if device.block { "b" } else { "c" };
    let (major, minor) = device.numbers;
    json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": device.access })
}

fn resources(inputs: &SpecInputs<'_>) -> Value {
    // Devices: nothing, but the handful that runtimes always allow (null, zero, full, random, urandom, tty,
    // console, ptmx, pts) and those asked for.
    let devices = if inputs.container.config.security.privileged {
        vec![json!({ "allow": true, "access": "rwm" })]
    } else {
        let none = json!({ "allow": false, "access": "rwm" });
        std::iter::once(none).chain(inputs.found.devices.iter().map(access)).collect()
    };
    let mut all = Map::new();
    all.insert("devices".to_owned(), json!(devices));
    if inputs.host.pids_limit > 0 {
        all.insert("pids".to_owned(), json!({ "limit": inputs.host.pids_limit }));
    }
    all.extend(limits(&inputs.container.config.resources, inputs.host));
    Value::Object(all)
}
