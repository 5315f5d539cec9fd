//! Usage from the unified hierarchy (kernel's Documentation/admin-guide/cgroup-v2.rst).
//!
//! Never: keeps anything.

use std::{fs, io, path::Path};

use super::{Memory, Pressure, Usage, field, number};

const NANOS_PER_MICRO: u64 = 1000;

pub(super) fn read(folder: &Path) -> io::Result<Usage> {
    let cpu = fs::read_to_string(folder.join("cpu.stat"))?;
    let pressure = |name: &str| Pressure::read(&folder.join(name));
    Ok(Usage {
        cpu_nanos: field(&cpu, "usage_usec").unwrap_or(0).saturating_mul(NANOS_PER_MICRO),
        memory: read_memory(folder)?,
        tasks: number(folder.join("pids.current")).ok(),
        cpu_pressure: pressure("cpu.pressure"),
        memory_pressure: pressure("memory.pressure"),
        io_pressure: pressure("io.pressure"),
        ..Usage::default()
    })
}

fn read_memory(folder: &Path) -> io::Result<Memory> {
    // A cgroup without the memory controller has no such file: then nothing is known, which is not an error.
    let usage = match number(folder.join("memory.current")) {
        Ok(usage) => usage,
        Err(e) if e.kind() == io::ErrorKind::NotFound && folder.exists() => return Ok(Memory::default()),
        Err(e) => return Err(e),
    };
    let stat = fs::read_to_string(folder.join("memory.stat"))?;
    let of = |name| field(&stat, name).unwrap_or(0);
    Ok(Memory {
        usage,
        working_set: usage.saturating_sub(of("inactive_file")),
        // "max" is no number: no limit.
        limit: number(folder.join("memory.max")).ok(),
        rss: of("anon"),
        page_faults: of("pgfault"),
        major_page_faults: of("pgmajfault"),
        swap_usage: number(folder.join("memory.swap.current")).ok(),
        swap_limit: number(folder.join("memory.swap.max")).ok(),
    })
}
