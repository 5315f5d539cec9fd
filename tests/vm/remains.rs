//! What a taffrail has on a node of its own, as lists that can be compared.
//!
//! Owns: what counts as left over on a whole node. Never: cleans up.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use tests::{network::Network, nursery};

use super::node::{self, UNIT};

/// Kind and name of each thing.
pub type Remains = BTreeSet<String>;

/// Programs that live only for a taffrail. The kernel cuts names after 15 bytes.
const PROGRAMS: [&str; 5] = ["taffrail", "runc", "crun", "demo", "pause"];

/// Folders that hold an entry for each pod or container.
const FOLDERS: [&str; 5] = [
    "/var/lib/taffrail/sandboxes",
    "/var/lib/taffrail/containers",
    "/run/taffrail/shims",
    "/run/taffrail/sandboxes",
    "/run/netns",
];

/// Looks at the node. The daemon itself, its service and its cgroup are not looked at.
pub fn look(daemon: Option<u32>) -> Remains {
    let mut found = Remains::new();
    for process in nursery::processes().into_iter().filter(|process| Some(process.pid) != daemon) {
        if PROGRAMS.iter().any(|name| process.name.starts_with(name)) {
            found.insert(format!("process {} {}", process.name, process.pid));
        }
    }
    cgroups(Path::new("/sys/fs/cgroup"), &mut found);
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo can be read");
    for point in mounts.lines().filter_map(|line| line.split(' ').nth(4)) {
        if point.contains("taffrail") {
            found.insert(format!("mount {point}"));
        }
    }
    for folder in FOLDERS {
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        found.extend(entries.map(|entry| format!("file {}", entry.path().display())));
    }
    let units = node::run(&["systemctl", "list-units", "--all", "--plain", "--no-legend", "taffrail*"]);
    let names = units.lines().filter_map(|line| line.split_whitespace().next());
    found.extend(names.filter(|name| !is_service(name)).map(|name| format!("unit {name}")));
    let network = Network::of(std::process::id());
    for (kind, words) in
        [("link", ["ip", "-o", "link", "show"].as_slice()), ("rule", &["nft", "list", "ruleset"])]
    {
        let text = network.run(words);
        let lines = text.lines().map(|line| line.split(" mtu ").next().unwrap_or(line).trim());
        found.extend(lines.map(|line| format!("{kind} {line}")));
    }
    found
}

fn is_service(name: &str) -> bool {
    name == UNIT || name == "taffrail-vm.service"
}

fn cgroups(folder: &Path, found: &mut Remains) {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    for folder in folders {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.contains("taffrail") && !is_service(name) {
            found.insert(format!("cgroup {}", folder.display()));
        }
        cgroups(&folder, found);
    }
}
