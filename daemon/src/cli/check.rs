//! `taffrail check`: is this host fit, a line for each thing that matters, with the cure.
//!
//! Owns: the list of things. Never: changes the host.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use serde_json::json;

use super::{args::ConfigArguments, exit::Failure, print};
use crate::{
    config::{CgroupDriver, Config},
    oci::{advisory, read_version},
    systemd,
};

/// Oldest kernel: 5.6 has openat2 and pidfd_getfd, 5.9 close_range; 5.11 is the first long-lived one after.
const KERNEL: (u32, u32) = (5, 11);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Warning,
    Unfit,
}

#[derive(Debug)]
struct Line {
    name: String,
    verdict: Verdict,
    text: String,
}

fn line(name: &str, verdict: Verdict, text: impl Into<String>) -> Line {
    Line { name: name.to_owned(), verdict, text: text.into() }
}

pub(super) fn run(arguments: &ConfigArguments) -> Result<ExitCode, Failure> {
    let (config, _) = Config::load(&arguments.sources.inputs())?;
    let mut lines = vec![root(), kernel(), cgroups(&config), overlay(&config)];
    lines.extend(runtimes(&config));
    lines.push(network(&config));
    let word = |verdict| match verdict {
        Verdict::Good => "ok",
        Verdict::Warning => "warning",
        Verdict::Unfit => "unfit",
    };
    if arguments.json {
        let all: Vec<_> = lines
            .iter()
            .map(|l| json!({ "check": l.name, "verdict": word(l.verdict), "text": l.text }))
            .collect();
        print::json(&all)?;
    } else {
        let rows: Vec<_> =
            lines.iter().map(|l| vec![l.name.clone(), word(l.verdict).to_owned(), l.text.clone()]).collect();
        print::table(&["CHECK", "VERDICT", ""], &rows)?;
    }
    if lines.iter().any(|line| line.verdict == Verdict::Unfit) {
        return Err(Failure::unfit("this host is not fit; the lines above say why and what helps"));
    }
    Ok(ExitCode::SUCCESS)
}

fn root() -> Line {
    if nix::unistd::geteuid().is_root() {
        return line("user", Verdict::Good, "root");
    }
    line("user", Verdict::Unfit, "not root: run it as root, or through sudo")
}

fn kernel() -> Line {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim().to_owned();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= KERNEL {
        return line("kernel", Verdict::Good, release);
    }
    let (major, minor) = KERNEL;
    line(
        "kernel",
        Verdict::Unfit,
        format!("{release}: {major}.{minor} or later is needed; update the kernel"),
    )
}

fn cgroups(config: &Config) -> Line {
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let driver = match config.cgroup_driver {
        CgroupDriver::Cgroupfs => "cgroupfs",
        CgroupDriver::Systemd => "systemd",
    };
    if config.cgroup_driver == CgroupDriver::Systemd && !systemd::is_there() {
        let text = "cgroup_driver is systemd, which does not run here; set cgroup_driver = \"cgroupfs\"";
        return line("cgroups", Verdict::Unfit, text);
    }
    if systemd::is_there() && !is_in_path("busctl") {
        let text =
            "systemd runs, but not its busctl, which makes the scopes; install it (apt-get install systemd)";
        return line("cgroups", Verdict::Unfit, text);
    }
    if v2 {
        return line("cgroups", Verdict::Good, format!("v2, driver {driver}"));
    }
    let missing: Vec<&str> = ["memory", "cpu", "pids", "freezer", "devices"]
        .into_iter()
        .filter(|name| !Path::new("/sys/fs/cgroup").join(name).join("cgroup.procs").exists())
        .collect();
    if missing.is_empty() {
        let text = format!(
            "v1, driver {driver}; the kubelet is leaving v1: boot with systemd.unified_cgroup_hierarchy=1"
        );
        return line("cgroups", Verdict::Warning, text);
    }
    let text = format!("v1 without {}; mount them below /sys/fs/cgroup", missing.join(", "));
    line("cgroups", Verdict::Unfit, text)
}

fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn overlay(config: &Config) -> Line {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let known = known.lines().any(|line| line.split_whitespace().last() == Some("overlay"));
    if !known {
        return line("overlay", Verdict::Unfit, "the kernel has no overlay file system; modprobe overlay");
    }
    // The root may not be made yet; what counts is the file system it will be on.
    let there = config.root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match nix::sys::statfs::statfs(there).map(|fs| fs.filesystem_type()) {
        Ok(nix::sys::statfs::OVERLAYFS_SUPER_MAGIC) => {
            let text = format!(
                "{} is on overlay itself, which cannot hold layers; set root to a disk's folder",
                config.root.display()
            );
            line("overlay", Verdict::Unfit, text)
        }
        _ => line("overlay", Verdict::Good, format!("root {}", config.root.display())),
    }
}

fn network(config: &Config) -> Line {
    match crate::assembly::network_check(config) {
        Ok((name, Ok(note))) if note.is_empty() => line("network", Verdict::Good, name),
        Ok((name, Ok(note))) => line("network", Verdict::Warning, format!("{name}: {note}")),
        Ok((name, Err(why))) => line("network", Verdict::Warning, format!("{name}: {why}")),
        Err(error) => line("network", Verdict::Unfit, format!("{error:#}")),
    }
}

fn runtimes(config: &Config) -> Vec<Line> {
    let mut lines = Vec::new();
    for (name, runtime) in &config.runtimes {
        let is_default = *name == config.default_runtime;
        let title = format!("runtime {name}");
        if !runtime.path.is_file() {
            let text = format!("not installed (apt-get install {name}), or runtimes.{name}.path is wrong");
            if is_default {
                lines.push(line(&title, Verdict::Unfit, text));
            }
            continue;
        }
        let output = Command::new(&runtime.path).arg("--version").stdin(Stdio::null()).output();
        let output = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
        let path = runtime.path.display();
        lines.push(match read_version(&output) {
            None => line(&title, Verdict::Warning, format!("{path} tells no version: is it a runtime?")),
            Some((program, version)) => {
                let (a, b, c) = version;
                let hybrid = Path::new("/sys/fs/cgroup/unified").exists() && program == "crun";
                match advisory(&program, version) {
                    None if hybrid => {
                        let text = "refuses this host's hybrid cgroups; boot with v2 only, or use runc";
                        line(&title, Verdict::Warning, format!("{path} {a}.{b}.{c}: {text}"))
                    }
                    None => line(&title, Verdict::Good, format!("{path} {a}.{b}.{c}")),
                    Some(known) => {
                        line(&title, Verdict::Warning, format!("{path} {a}.{b}.{c}: {}", known.text))
                    }
                }
            }
        });
    }
    lines
}
