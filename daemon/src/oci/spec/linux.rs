//! The spec's `linux`: namespaces, limits, hidden paths, devices.
//!
//! Never: process rights; those are in `process`.

use serde_json::{Map, Value, json};

use super::SpecInputs;
use crate::{
    container::{Propagation, Resources},
    sandbox::Sharing,
};

pub(super) fn linux(inputs: &SpecInputs<'_>) -> Value {
    let config = &inputs.container.config;
    let shared = config.mounts.iter().any(|mount| mount.propagation == Propagation::Bidirectional);
    let slave = config.mounts.iter().any(|mount| mount.propagation == Propagation::HostToContainer);
    let propagation = match (shared, slave) {
        (true, _) => "rshared",
        (false, true) => "rslave",
        (false, false) => "rprivate",
    };
    json!({
        "cgroupsPath": inputs.cgroups_path,
        "namespaces": namespaces(inputs),
        "resources": resources(&config.resources),
        "maskedPaths": config.security.masked_paths,
        "readonlyPaths": config.security.readonly_paths,
        "rootfsPropagation": propagation,
    })
}

fn namespaces(inputs: &SpecInputs<'_>) -> Vec<Value> {
    let pod = &inputs.sandbox.config;
    let mut all = vec![json!({ "type": "mount" })];
    if inputs.container.config.security.pid != Sharing::Node {
        all.push(json!({ "type": "pid" }));
    }
    if pod.ipc != Sharing::Node {
        all.push(json!({ "type": "ipc", "path": inputs.files.ipc }));
    }
    if pod.network != Sharing::Node {
        all.push(json!({ "type": "network", "path": inputs.files.net }));
        all.push(json!({ "type": "uts", "path": inputs.files.uts }));
    }
    if inputs.host.cgroup_v2 {
        all.push(json!({ "type": "cgroup" }));
    }
    all
}

fn resources(asked: &Resources) -> Value {
    // Devices: nothing, but the handful that runtimes always allow (null, zero, full, random, urandom, tty,
    // console, ptmx, pts).
    let mut all = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    let mut cpu = Map::new();
    for (name, value) in
        [("shares", asked.cpu_shares), ("quota", asked.cpu_quota), ("period", asked.cpu_period)]
    {
        if value != 0 {
            cpu.insert(name.to_owned(), json!(value));
        }
    }
    for (name, value) in [("cpus", &asked.cpuset_cpus), ("mems", &asked.cpuset_mems)] {
        if !value.is_empty() {
            cpu.insert(name.to_owned(), json!(value));
        }
    }
    let mut memory = Map::new();
    for (name, value) in [("limit", asked.memory_limit), ("swap", asked.memory_swap_limit)] {
        if value != 0 {
            memory.insert(name.to_owned(), json!(value));
        }
    }
    for (name, values) in [("cpu", cpu), ("memory", memory)] {
        if !values.is_empty() {
            all[name] = Value::Object(values);
        }
    }
    all
}
