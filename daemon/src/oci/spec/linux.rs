//! The spec's `linux`: namespaces, limits, hidden paths, devices.
//!
//! Never: process rights; those are in `process`.

use serde_json::{Map, Value, json};

use super::{SpecInputs, limits};
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
    let mut all = Map::new();
    all.insert("devices".to_owned(), json!([{ "allow": false, "access": "rwm" }]));
    all.extend(limits(asked));
    Value::Object(all)
}
