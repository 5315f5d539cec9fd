//! Rule 4: one file for each call of the CRI, named like it, so that anybody finds one in ten seconds.
//!
//! Never: looks inside.

use std::{collections::BTreeSet, fs};

use crate::source::workspace;

/// `RunPodSandbox` to `run_pod_sandbox`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

#[test]
fn each_call_has_its_file() {
    let proto = fs::read_to_string(workspace().join("daemon/cri-api/proto/cri.proto")).unwrap();
    let names = proto.lines().filter_map(|line| line.trim_start().strip_prefix("rpc ")?.split('(').next());
    let calls: BTreeSet<String> = names.map(snake).collect();
    assert_eq!(calls.len(), 41);
    let files: BTreeSet<String> = fs::read_dir(workspace().join("daemon/src/cri/calls"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().trim_end_matches(".rs").to_owned())
        .filter(|name| name != "mod")
        .collect();
    assert_eq!(files, calls, "daemon/src/cri/calls against the calls of cri.proto");
}
