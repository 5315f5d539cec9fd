//! The benchmark: our figures beside those of Debian's conmon and containerd, taken on the same machine in the same
//! run, as a table for `docs/PROMISES.md`.
//!
//! `bench latency` takes the first part alone. Owns: what is measured and in which order. Never: an assertion; the promises and their tests are elsewhere.

mod chain;
mod conmon;
mod containerd;
mod latency;
mod limits;
mod logs;
mod median;
mod memory;
mod output;
mod parallel;

use std::process::ExitCode;

use tests::{daemon::Daemon, host};

use crate::{conmon::Conmon, containerd::Containerd, output::Table};

fn main() -> ExitCode {
    let Some(mut daemon) = Daemon::start() else { return ExitCode::FAILURE };
    let mut table = Table::default();
    output::note("latency: ours and containerd's in turn");
    let containerd = Containerd::start();
    latency::measure(&daemon, containerd.as_ref(), &mut table);
    if std::env::args().nth(1).as_deref() == Some("latency") {
        output::print(&format!("{}\n{}", host_line(), table.markdown()));
        return ExitCode::SUCCESS;
    }
    output::note("throughput: ten callers at once");
    parallel::measure(&daemon, containerd.as_ref(), &mut table);
    output::note("logs: ours and conmon's in turn");
    let conmon = Conmon::find();
    logs::measure(&daemon, conmon.as_ref(), &mut table);
    output::note("memory: fifty containers each");
    memory::measure(&mut daemon, containerd, conmon.as_ref(), &mut table);
    output::print(&format!("{}\n{}", host_line(), table.markdown()));
    drop(daemon);
    ExitCode::SUCCESS
}

/// What the figures are of.
fn host_line() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cgroups = if host::cgroup_v2_only() { "v2" } else { "v1" };
    format!("{cpus} cores, kernel {}, cgroups {cgroups}\n", kernel.trim())
}
