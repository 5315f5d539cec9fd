//! What a taffrail has on a node of its own: the leak checker's lists with the node's own places, and systemd's units.
//!
//! Owns: the places. Never: cleans up.

use std::path::PathBuf;

use tests::leaks::{Below, Places, Snapshot};

use super::node::{self, UNIT};

/// Programs that live only for a taffrail. The kernel cuts names after 15 bytes.
const PROGRAMS: [&str; 5] = ["taffrail", "runc", "crun", "demo", "pause"];

/// Begins of all paths that are a taffrail's own.
const PLACES: [&str; 3] = ["/var/lib/taffrail", "/run/taffrail", "/run/netns/taffrail"];

/// Folders whose files are compared.
const FILES: [&str; 3] = ["/var/lib/taffrail", "/run/taffrail", "/run/netns"];

/// Looks at the node, and at the daemon where one runs. Its own units are not looked at.
pub fn look(daemon: Option<u32>) -> Snapshot {
    let places = Places {
        folders: PLACES.map(PathBuf::from).to_vec(),
        root: "/var/lib/taffrail".into(),
        files: FILES.map(PathBuf::from).to_vec(),
        instance: "taffrail".into(),
    };
    let units = node::run(&["systemctl", "list-units", "--all", "--plain", "--no-legend", "taffrail*"]);
    let names = units.lines().filter_map(|line| line.split_whitespace().next());
    let units = names.filter(|name| ![UNIT, "taffrail-vm.service"].contains(name)).map(str::to_owned);
    Snapshot::take(&places, Below::Node(&PROGRAMS), daemon).with("unit", units)
}
