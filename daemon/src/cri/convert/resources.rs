//! A container's limits, checked.
//!
//! Never: knows what a controller of the host can do.

use std::collections::BTreeMap;

use cri_api::v1;
use tonic::Status;

use super::checks::{list, name};
use crate::{container::Resources, cri::error::invalid};

/// Where the fields stand in a request.
const RESOURCES: &str = "config.linux.resources";

/// Range of `oom_score_adj` (proc(5)).
const OOM_SCORE_ADJ: std::ops::RangeInclusive<i64> = -1000..=1000;

/// Checks and converts. `cgroup_v2`: the host has the unified hierarchy only.
pub(in crate::cri) fn resources(
    asked: &v1::LinuxContainerResources,
    cgroup_v2: bool,
) -> Result<Resources, Status> {
    let limit = |value: i64, field: &str| {
        if value < -1 { Err(invalid(format!("{RESOURCES}.{field} {value} is negative"))) } else { Ok(value) }
    };
    if !OOM_SCORE_ADJ.contains(&asked.oom_score_adj) {
        return Err(invalid(format!("{RESOURCES}.oom_score_adj must be -1000 to 1000")));
    }
    let (memory, swap) = (asked.memory_limit_in_bytes, asked.memory_swap_limit_in_bytes);
    if memory > 0 && swap > 0 && swap < memory {
        return Err(invalid(format!(
            "{RESOURCES}.memory_swap_limit_in_bytes {swap} is below memory_limit_in_bytes {memory}: it counts both"
        )));
    }
    Ok(Resources {
        cpu_period: limit(asked.cpu_period, "cpu_period")?,
        cpu_quota: limit(asked.cpu_quota, "cpu_quota")?,
        cpu_shares: limit(asked.cpu_shares, "cpu_shares")?,
        memory_limit: limit(memory, "memory_limit_in_bytes")?,
        memory_swap_limit: limit(swap, "memory_swap_limit_in_bytes")?,
        oom_score_adj: asked.oom_score_adj,
        cpuset_cpus: cpu_list(&asked.cpuset_cpus, "cpuset_cpus")?,
        cpuset_mems: cpu_list(&asked.cpuset_mems, "cpuset_mems")?,
        hugepages: hugepages(&asked.hugepage_limits)?,
        unified: unified(&asked.unified, cgroup_v2)?,
    })
}

fn cpu_list(value: &str, field: &str) -> Result<String, Status> {
    if value.chars().all(|c| c.is_ascii_digit() || c == ',' || c == '-') {
        return name(value, field);
    }
    Err(invalid(format!("{RESOURCES}.{field} {value:?} is no list like 0-3,5")))
}

fn hugepages(limits: &[v1::HugepageLimit]) -> Result<BTreeMap<String, u64>, Status> {
    let field = "config.linux.resources.hugepage_limits";
    let one = |limit: &v1::HugepageLimit| {
        let number = ["KB", "MB", "GB"].iter().find_map(|unit| limit.page_size.strip_suffix(unit));
        let good =
            number.is_some_and(|n| !n.is_empty() && n.len() <= 8 && n.bytes().all(|b| b.is_ascii_digit()));
        if good {
            Ok((limit.page_size.clone(), limit.limit))
        } else {
            Err(invalid(format!("{field}.page_size {:?} is no size like 2MB", limit.page_size)))
        }
    };
    list(limits, field)?.iter().map(one).collect()
}

/// Each key is the name of a file in the container's cgroup: nothing that leads out of it.
fn unified(
    files: &std::collections::HashMap<String, String>,
    cgroup_v2: bool,
) -> Result<BTreeMap<String, String>, Status> {
    let field = "config.linux.resources.unified";
    if !files.is_empty() && !cgroup_v2 {
        return Err(invalid(format!(
            "{field} needs a host with cgroup v2 only; this one has v1 hierarchies"
        )));
    }
    let one = |(key, value): (&String, &String)| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
        let good = key.chars().all(plain) && !key.contains("..") && key.split('.').count() >= 2;
        let own = key.starts_with("cgroup.");
        if !good || own || key.starts_with('.') {
            return Err(invalid(format!("{field} {key:?} is no file of a controller like memory.high")));
        }
        Ok((name(key, field)?, name(value, field)?))
    };
    files.iter().map(one).collect()
}
