//! The limits of `linux.resources`: what an update may change. Devices are not among them.
//!
//! Never: a limit that was not asked for.

use serde_json::{Map, Value, json};

use crate::container::Resources;

/// The limits as `linux.resources` spells them.
pub fn limits(asked: &Resources) -> Map<String, Value> {
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
    let mut all = Map::new();
    for (name, values) in [("cpu", cpu), ("memory", memory)] {
        if !values.is_empty() {
            all.insert(name.to_owned(), Value::Object(values));
        }
    }
    all
}

/// Puts other limits into a whole spec. `least` of `oom_score_adj` has been looked at when the spec was made and
/// is looked at again by the one who asks.
pub fn set_limits(spec: &mut Value, resources: &Resources) {
    if let Some(there) = spec.pointer_mut("/linux/resources").and_then(Value::as_object_mut) {
        there.retain(|name, _| name == "devices");
        there.extend(limits(resources));
    }
}
