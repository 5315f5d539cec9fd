//! The benchmark: our figures beside those of Debian's conmon and containerd, taken on the same machine in the same
//! run, as a table for `docs/PROMISES.md`.
//!
//! `bench PART...` takes some parts alone. Owns: what is measured and in which order. Never: an assertion; the
//! promises and their tests are elsewhere.

mod chain;
mod conformance;
mod conmon;
mod containerd;
mod latency;
mod limits;
mod logs;
mod median;
mod memory;
mod output;
mod parallel;
mod pulls;
mod scale;
mod steps;

use std::process::ExitCode;

use tests::{daemon::Daemon, host};

use crate::{conmon::Conmon, containerd::Containerd, output::Table};

/// The parts, in the order in which they are taken.
const PARTS: [&str; 8] = ["latency", "parallel", "logs", "memory", "pulls", "scale", "steps", "critest"];

fn main() -> ExitCode {
    let named: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = named.iter().find(|name| !PARTS.contains(&name.as_str())) {
        output::note(&format!("there is no part {unknown}; there are {}", PARTS.join(", ")));
        return ExitCode::FAILURE;
    }
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    let mut table = Table::default();
    if ["latency", "parallel", "logs", "memory"].into_iter().any(wanted) {
        let Some(mut daemon) = Daemon::start() else { return ExitCode::FAILURE };
        let containerd = Containerd::start();
        if wanted("latency") {
            output::note("latency: ours and containerd's in turn");
            latency::measure(&daemon, containerd.as_ref(), &mut table);
        }
        if wanted("parallel") {
            output::note("throughput: ten callers at once");
            parallel::measure(&daemon, containerd.as_ref(), &mut table);
        }
        let conmon = Conmon::find();
        if wanted("logs") {
            output::note("logs: ours and conmon's in turn");
            logs::measure(&daemon, conmon.as_ref(), &mut table);
        }
        if wanted("memory") {
            output::note("memory: fifty containers each");
            memory::measure(&mut daemon, containerd, conmon.as_ref(), &mut table);
        }
    }
    if wanted("pulls") {
        output::note("pulls: ours and containerd's in turn");
        pulls::measure(&mut table);
    }
    if wanted("scale") {
        output::note("scale: pods among few and among many");
        scale::measure(&mut table);
    }
    if wanted("steps") {
        output::note("steps of a pod's life");
        steps::measure(&mut table);
    }
    if wanted("critest") {
        conformance::measure(&mut table);
    }
    output::print(&format!("{}\n{}", host_line(), table.markdown()));
    ExitCode::SUCCESS
}

/// What the figures are of.
fn host_line() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cgroups = if host::cgroup_v2_only() { "v2" } else { "v1" };
    format!("{cpus} cores, kernel {}, cgroups {cgroups}\n", kernel.trim())
}
