//! The limits of `linux.resources`: what an update may change. Devices are not among them.
//!
//! Never: a limit that was not asked for.

use serde_json::{Map, Value, json};

use super::HostLimits;
use crate::container::Resources;

/// What of `linux.resources` stays as it was when limits change.
const KEPT: [&str; 2] = ["devices", "pids"];

/// The limits as `linux.resources` spells them.
pub fn limits(asked: &Resources, host: &HostLimits) -> Map<String, Value> {
    let mut all = Map::new();
    for (name, values) in [("cpu", cpu(asked)), ("memory", memory(asked, host))] {
        if !values.is_empty() {
            all.insert(name.to_owned(), Value::Object(values));
        }
    }
    // The kubelet names every size there is, most with 0; a host without the controller cannot keep any.
    if host.controllers.hugetlb && !asked.hugepages.is_empty() {
        let limit = |(size, limit): (&String, &u64)| json!({ "pageSize": size, "limit": limit });
        all.insert("hugepageLimits".to_owned(), asked.hugepages.iter().map(limit).collect());
    }
    if !asked.unified.is_empty() {
        all.insert("unified".to_owned(), json!(asked.unified));
    }
    all
}

fn cpu(asked: &Resources) -> Map<String, Value> {
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
    cpu
}

fn memory(asked: &Resources, host: &HostLimits) -> Map<String, Value> {
    let mut memory = Map::new();
    if asked.memory_limit != 0 {
        memory.insert("limit".to_owned(), json!(asked.memory_limit));
    }
    let swap = match asked.memory_swap_limit {
        // Without a word about swap a limit means no swap: else it would only move the memory to the disk.
        0 if asked.memory_limit > 0 && !asked.unified.contains_key("memory.swap.max") => asked.memory_limit,
        swap => swap,
    };
    if swap != 0 && host.controllers.swap {
        memory.insert("swap".to_owned(), json!(swap));
    }
    memory
}

/// Puts other limits into a whole spec. `least` of `oom_score_adj` has been looked at when the spec was made and
/// is looked at again by the one who asks.
pub fn set_limits(spec: &mut Value, resources: &Resources, host: &HostLimits) {
    if let Some(there) = spec.pointer_mut("/linux/resources").and_then(Value::as_object_mut) {
        there.retain(|name, _| KEPT.contains(&name.as_str()));
        there.extend(limits(resources, host));
    }
}
