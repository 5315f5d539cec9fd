//! Rule 3: which module of the daemon may use which. A line of the table is a decision; an arrow that is not in it
//! needs one.
//!
//! Never: the arrows between packages; Cargo has those.

use std::collections::BTreeSet;

use crate::source::{Source, all, none};

/// Modules that everybody may use; among themselves they are ordered by what they need, and `sys` needs nothing.
const GROUND: [&str; 14] = [
    "cgroups",
    "clock",
    "config",
    "embedded",
    "ids",
    "layout",
    "limits",
    "operations",
    "steps",
    "store",
    "sys",
    "systemd",
    "tasks",
    "tickets",
];

/// Module, and what it may use besides the ground.
const WALLS: [(&str, &[&str]); 14] = [
    ("cri", &["container", "events", "image", "network", "oci", "pod", "sandbox", "stats"]),
    ("cli", &["assembly", "cri", "give_back", "oci", "pod"]),
    ("pod", &["container", "sandbox", "shims"]),
    ("container", &["events", "image", "oci", "sandbox", "shims", "snapshot", "stats"]),
    // The network's and the runtime's traits speak of pods and containers; never of those that own them.
    ("sandbox", &["events", "network", "oci", "shims"]),
    ("oci", &["container", "sandbox"]),
    ("network", &["sandbox"]),
    ("image", &["snapshot"]),
    ("snapshot", &[]),
    ("shims", &[]),
    ("stats", &[]),
    // An event brings the facts of a sandbox that may be gone.
    ("events", &["sandbox"]),
    ("give_back", &["events"]),
    (
        "assembly",
        &[
            "container",
            "cri",
            "events",
            "image",
            "network",
            "oci",
            "pod",
            "sandbox",
            "shims",
            "snapshot",
            "stats",
        ],
    ),
];

/// Who may name the gRPC code: the edge and the command line, which is a client.
const GRPC: [&str; 2] = ["cri", "cli"];

/// The module of a daemon's file: the first part of its path under `src/`.
fn module(source: &Source) -> Option<&str> {
    let rest = source.path.strip_prefix("daemon/src/")?;
    let module = rest.split('/').next()?;
    (!["lib.rs", "main.rs"].contains(&module)).then(|| module.trim_end_matches(".rs"))
}

/// Modules named as `crate::name`, in a list of `use crate::{...}` too.
fn used(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = text;
    while let Some(at) = rest.find("crate::") {
        rest = &rest[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(heads(list)),
            None => drop(found.insert(word(rest))),
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first word of each entry of a list, up to its closing bracket.
fn heads(list: &str) -> Vec<String> {
    let mut depth = 0;
    let mut found = vec![word(list.trim_start())];
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => found.push(word(list[at + 1..].trim_start())),
            _ => {}
        }
    }
    found
}

#[test]
fn the_daemons_modules_keep_their_walls() {
    let mut offences = Vec::new();
    for source in all().iter().filter(|source| !source.is_test()) {
        let Some(module) = module(source) else { continue };
        let code: String = source.code().map(|(_, line)| format!("{line}\n")).collect();
        let walls = WALLS.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed);
        let allowed = walls.unwrap_or_default();
        assert!(
            walls.is_some() || GROUND.contains(&module),
            "{module} is in no table: decide what it may use"
        );
        for other in used(&code) {
            let is_module = WALLS.iter().any(|(name, _)| *name == other) || GROUND.contains(&other.as_str());
            let free =
                other == module || GROUND.contains(&other.as_str()) || allowed.contains(&other.as_str());
            if is_module && !free {
                offences.push(format!("{}: {module} uses {other}", source.path));
            }
        }
    }
    none("walls between the daemon's modules (tests/tidy/walls.rs has the table)", &offences);
}

#[test]
fn only_the_edge_knows_grpc() {
    let mut offences = Vec::new();
    for source in all().iter().filter(|source| !source.is_test()) {
        let Some(module) = module(source) else { continue };
        let knows = source.code().any(|(_, line)| line.contains("cri_api::") || line.contains("tonic::"));
        if knows && !GRPC.contains(&module) {
            offences.push(source.path.clone());
        }
    }
    none("only cri/ and cli/ name cri_api or tonic", &offences);
}

#[test]
fn lists_of_uses_are_read() {
    let text = "use crate::{\n  a::{B, c::D},\n  e,\n};\nfn f() { crate::g::h() }";
    let found: Vec<String> = used(text).into_iter().filter(|name| !name.is_empty()).collect();
    assert_eq!(found, ["a", "e", "g"].map(str::to_owned));
}
