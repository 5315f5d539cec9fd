//! Usage from the hierarchies of cgroup v1 (kernel's Documentation/admin-guide/cgroup-v1).
//!
//! Never: keeps anything.

use std::{fs, io, path::Path};

use super::{Memory, Usage, field, number};

/// v1 writes "no limit" as the highest multiple of a page that fits in 63 bits: anything this high is none.
const NO_LIMIT: u64 = 1 << 62;

pub(super) fn read(cpuacct: &Path, memory: &Path, pids: &Path) -> io::Result<Usage> {
    Ok(Usage {
        cpu_nanos: number(cpuacct.join("cpuacct.usage"))?,
        memory: read_memory(memory)?,
        tasks: number(pids.join("pids.current")).ok(),
        ..Usage::default()
    })
}

fn read_memory(folder: &Path) -> io::Result<Memory> {
    let usage = number(folder.join("memory.usage_in_bytes"))?;
    let stat = fs::read_to_string(folder.join("memory.stat"))?;
    let of = |name| field(&stat, name).unwrap_or(0);
    let limit = |name| field(&stat, name).filter(|limit| *limit < NO_LIMIT);
    let both = number(folder.join("memory.memsw.usage_in_bytes")).ok();
    let memory_limit = limit("hierarchical_memory_limit");
    Ok(Memory {
        usage,
        working_set: usage.saturating_sub(of("total_inactive_file")),
        limit: memory_limit,
        rss: of("total_rss"),
        page_faults: of("total_pgfault"),
        major_page_faults: of("total_pgmajfault"),
        swap_usage: both.map(|both| both.saturating_sub(usage)),
        swap_limit: limit("hierarchical_memsw_limit")
            .zip(memory_limit)
            .map(|(both, memory)| both.saturating_sub(memory)),
    })
}
