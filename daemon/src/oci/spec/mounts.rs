//! The spec's `mounts`: the file systems every container has, the pod's files, and the binds asked for.
//!
//! Owns: their order; a deeper path comes after a shallower one. Never: checks a source on the host.

use serde_json::{Value, json};

use super::SpecInputs;
use crate::{
    container::{Mount, Propagation},
    sandbox::Sharing,
};

pub(super) fn mounts(inputs: &SpecInputs<'_>) -> Vec<Value> {
    let asked = &inputs.container.config.mounts;
    let is_asked = |path: &str| asked.iter().any(|mount| mount.container_path.trim_end_matches('/') == path);
    let mut all = base(inputs);
    all.retain(|mount| !mount["destination"].as_str().is_some_and(&is_asked));
    let readonly = if inputs.container.config.security.readonly_rootfs { "ro" } else { "rw" };
    let files = &inputs.files;
    for (path, source) in [
        ("/etc/hosts", files.hosts),
        ("/etc/hostname", files.hostname),
        ("/etc/resolv.conf", files.resolv_conf),
    ] {
        if !is_asked(path) {
            let options = ["rbind", "rprivate", readonly];
            all.push(json!({ "destination": path, "type": "bind", "source": source, "options": options }));
        }
    }
    // A mount over /a must come before one over /a/b, in whatever order they were asked for.
    let mut binds: Vec<&Mount> = asked.iter().collect();
    binds.sort_by_key(|mount| mount.container_path.trim_end_matches('/').matches('/').count());
    all.extend(binds.into_iter().map(bind));
    all
}

fn base(inputs: &SpecInputs<'_>) -> Vec<Value> {
    let mut all = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] }),
        json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] }),
        json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
                "options": ["nosuid", "noexec", "nodev"] }),
        json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"] }),
        json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }),
    ];
    let shm = match inputs.sandbox.config.ipc {
        Sharing::Node => json!("/dev/shm"),
        Sharing::Pod | Sharing::Container => json!(inputs.files.shm),
    };
    all.push(json!({ "destination": "/dev/shm", "type": "bind", "source": shm,
                     "options": ["rbind", "rprivate", "nosuid", "noexec", "nodev", "rw"] }));
    all
}

fn bind(mount: &Mount) -> Value {
    let propagation = match mount.propagation {
        Propagation::Private => "rprivate",
        Propagation::HostToContainer => "rslave",
        Propagation::Bidirectional => "rshared",
    };
    let options = ["rbind", propagation, if mount.readonly { "ro" } else { "rw" }];
    json!({ "destination": mount.container_path, "type": "bind", "source": mount.host_path, "options": options })
}
