//! Rule 10: what the shim links is a list that changes on purpose only. Each entry is memory in every container of
//! every node, and no executor may be among them.
//!
//! Never: versions; Cargo.lock has those.

use std::{collections::BTreeSet, process::Command};

use crate::source::workspace;

/// Everything in the shim's program.
const SHIM: [&str; 24] = [
    "bitflags",
    "byteorder",
    "cfg-if",
    "crc32fast",
    "crossbeam",
    "crossbeam-channel",
    "crossbeam-deque",
    "crossbeam-epoch",
    "crossbeam-queue",
    "crossbeam-utils",
    "libc",
    "log",
    "logs",
    "memchr",
    "memoffset",
    "nix",
    "once_cell",
    "pin-utils",
    "protobuf",
    "protobuf-support",
    "protocol",
    "shim",
    "thiserror",
    "ttrpc",
];
/// What derive macros need while building; they come with `thiserror` 1 and 2.
const BUILD: [&str; 5] = ["proc-macro2", "quote", "syn", "thiserror-impl", "unicode-ident"];

#[test]
fn the_shim_links_what_is_listed_and_no_executor() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .current_dir(workspace())
        .args(["tree", "-p", "shim", "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--target", "x86_64-unknown-linux-musl", "--locked"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let found: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    for refused in ["tokio", "serde_json", "hyper", "tonic", "async-trait"] {
        assert!(!found.contains(refused), "{refused} is reached from the shim");
    }
    let listed: BTreeSet<&str> = SHIM.iter().chain(&BUILD).copied().collect();
    assert_eq!(found, listed, "the shim's dependencies changed: is it worth it in every container?");
}
