//! From looks at cgroups, disks and interfaces to what the kubelet reads.
//!
//! Never: a figure that was not read; the kubelet takes what is absent as absent. The messages it looks into
//! without asking (attributes, metadata, `linux`) are always there.

use std::path::Path;

use cri_api::v1;

use super::status::{container_metadata, map, sandbox_metadata};
use crate::{
    container::ContainerFacts,
    sandbox::SandboxFacts,
    stats::{DiskUsage, Interface, Memory, Pressure, Stall, Usage},
};

/// What a pod's first interface is called, by CNI's custom.
const DEFAULT_INTERFACE: &str = "eth0";

fn value(value: u64) -> Option<v1::UInt64Value> {
    Some(v1::UInt64Value { value })
}

/// One container; `usage` is `None` when its cgroup is not there (any more).
pub(in crate::cri) fn container_stats(
    facts: &ContainerFacts,
    usage: Option<&Usage>,
    disk: Option<DiskUsage>,
    store: &Path,
) -> v1::ContainerStats {
    let attributes = v1::ContainerAttributes {
        id: facts.id.clone(),
        metadata: Some(container_metadata(facts)),
        labels: map(&facts.config.labels),
        annotations: map(&facts.config.annotations),
    };
    let layer = |disk: DiskUsage| v1::FilesystemUsage {
        timestamp: disk.at,
        fs_id: Some(v1::FilesystemIdentifier { mountpoint: store.to_string_lossy().into_owned() }),
        used_bytes: value(disk.bytes),
        inodes_used: value(disk.inodes),
    };
    v1::ContainerStats {
        attributes: Some(attributes),
        cpu: usage.map(cpu),
        memory: usage.map(memory),
        writable_layer: disk.map(layer),
        swap: usage.and_then(swap),
        io: usage.and_then(io),
    }
}

/// One pod with its containers.
pub(in crate::cri) fn pod_sandbox_stats(
    facts: &SandboxFacts,
    usage: Option<&Usage>,
    interfaces: &[Interface],
    containers: Vec<v1::ContainerStats>,
    at: i64,
) -> v1::PodSandboxStats {
    let attributes = v1::PodSandboxAttributes {
        id: facts.id.clone(),
        metadata: Some(sandbox_metadata(&facts.config.name)),
        labels: map(&facts.config.labels),
        annotations: map(&facts.config.annotations),
    };
    let tasks = usage.and_then(|usage| usage.tasks);
    let linux = v1::LinuxPodSandboxStats {
        cpu: usage.map(cpu),
        memory: usage.map(memory),
        network: network(interfaces, at),
        process: tasks.map(|count| v1::ProcessUsage { timestamp: at, process_count: value(count) }),
        containers,
        io: usage.and_then(io),
    };
    v1::PodSandboxStats { attributes: Some(attributes), linux: Some(linux), windows: None }
}

fn cpu(usage: &Usage) -> v1::CpuUsage {
    v1::CpuUsage {
        timestamp: usage.at,
        usage_core_nano_seconds: value(usage.cpu_nanos),
        usage_nano_cores: usage.cpu_rate.and_then(value),
        psi: usage.cpu_pressure.map(psi),
    }
}

fn memory(usage: &Usage) -> v1::MemoryUsage {
    let Memory { usage: all, working_set, limit, rss, page_faults, major_page_faults, .. } = usage.memory;
    v1::MemoryUsage {
        timestamp: usage.at,
        working_set_bytes: value(working_set),
        available_bytes: limit.and_then(|limit| value(limit.saturating_sub(working_set))),
        usage_bytes: value(all),
        rss_bytes: value(rss),
        page_faults: value(page_faults),
        major_page_faults: value(major_page_faults),
        psi: usage.memory_pressure.map(psi),
    }
}

fn swap(usage: &Usage) -> Option<v1::SwapUsage> {
    let used = usage.memory.swap_usage?;
    let left = usage.memory.swap_limit.map(|limit| limit.saturating_sub(used));
    Some(v1::SwapUsage {
        timestamp: usage.at,
        swap_available_bytes: left.and_then(value),
        swap_usage_bytes: value(used),
    })
}

fn io(usage: &Usage) -> Option<v1::IoUsage> {
    usage.io_pressure.map(|pressure| v1::IoUsage { timestamp: usage.at, psi: Some(psi(pressure)) })
}

fn psi(pressure: Pressure) -> v1::PsiStats {
    let data = |stall: Stall| v1::PsiData {
        total: stall.total,
        avg10: stall.avg10,
        avg60: stall.avg60,
        avg300: stall.avg300,
    };
    v1::PsiStats { full: Some(data(pressure.full)), some: Some(data(pressure.some)) }
}

/// The kubelet looks into `default_interface` without asking: without one there is no network message.
fn network(interfaces: &[Interface], at: i64) -> Option<v1::NetworkUsage> {
    let convert = |interface: &Interface| v1::NetworkInterfaceUsage {
        name: interface.name.clone(),
        rx_bytes: value(interface.rx_bytes),
        rx_errors: value(interface.rx_errors),
        tx_bytes: value(interface.tx_bytes),
        tx_errors: value(interface.tx_errors),
    };
    let named = interfaces.iter().find(|interface| interface.name == DEFAULT_INTERFACE);
    let default = named.or_else(|| interfaces.first())?;
    let others = interfaces.iter().filter(|interface| interface.name != default.name);
    Some(v1::NetworkUsage {
        timestamp: at,
        default_interface: Some(convert(default)),
        interfaces: others.map(convert).collect(),
    })
}
