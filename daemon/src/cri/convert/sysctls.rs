//! Kernel settings of a pod's namespaces, checked: none may be the host's.
//!
//! Never: sets one; the pin program does, inside.

use std::collections::{BTreeMap, HashMap};

use tonic::Status;

use crate::{
    cri::error::invalid,
    limits::{SYSCTLS_BYTES_MAX, SYSCTLS_MAX},
    sandbox::Sharing,
};

/// Settings that belong to the pod's own namespaces, by their paths.
pub(super) fn sysctls(
    asked: &HashMap<String, String>,
    network: Sharing,
    ipc: Sharing,
) -> Result<BTreeMap<String, String>, Status> {
    let field = "config.linux.sysctls";
    let total: usize = asked.iter().map(|(name, value)| name.len() + value.len()).sum();
    if asked.len() > SYSCTLS_MAX || total > SYSCTLS_BYTES_MAX {
        return Err(invalid(format!(
            "{field} has more than {SYSCTLS_MAX} entries or {SYSCTLS_BYTES_MAX} bytes"
        )));
    }
    let mut found = BTreeMap::new();
    for (name, value) in asked {
        let path = sysctl_path(name);
        let good = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        let plain = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        let of_ipc = path == "kernel/sem"
            || ["kernel/shm", "kernel/msg", "fs/mqueue/"].iter().any(|begin| path.starts_with(begin));
        if !plain || !path.chars().all(good) || !(of_ipc || path.starts_with("net/")) {
            return Err(invalid(format!(
                "{field}: {name:?} belongs to no namespace of a pod: kernel.shm*, kernel.msg*, kernel.sem, \
                 fs.mqueue.* and net.* do"
            )));
        }
        let (shared, which) = if of_ipc { (ipc, "IPC namespace") } else { (network, "network") };
        if shared == Sharing::Node {
            return Err(invalid(format!(
                "{field}: {name:?} would change the host: the pod uses the host's {which}"
            )));
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(invalid(format!("{field}: the value of {name:?} holds a control character")));
        }
        if found.insert(path, value.clone()).is_some() {
            return Err(invalid(format!("{field}: {name:?} is there in two forms")));
        }
    }
    Ok(found)
}

/// A name as sysctl(8) reads it: the first separator tells the form, the other one is a letter.
fn sysctl_path(name: &str) -> String {
    if name.find(['.', '/']).is_some_and(|at| name[at..].starts_with('/')) {
        return name.to_owned();
    }
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    name.chars().map(swap).collect()
}
