//! The spec's `mounts`: the file systems every container has, the pod's files, the image's volumes, and the binds
//! asked for.
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
    let is_asked = |path: &str| asked.iter().any(|mount| plain(&mount.container_path) == path);
    let mut all = base(inputs);
    let readonly = if inputs.container.config.security.readonly_rootfs { "ro" } else { "rw" };
    let files = &inputs.files;
    for (path, source) in [
        ("/etc/hosts", files.hosts),
        ("/etc/hostname", files.hostname),
        ("/etc/resolv.conf", files.resolv_conf),
    ] {
        let options = ["rbind", "rprivate", readonly];
        all.push(json!({ "destination": path, "type": "bind", "source": source, "options": options }));
    }
    // What was asked for stands in the place of what every container has.
    all.retain(|mount| !mount["destination"].as_str().is_some_and(is_asked));
    all.extend(inputs.found.volumes.iter().map(|(path, source)| {
        json!({ "destination": path, "type": "bind", "source": source, "options": ["rbind", "rprivate", "rw"] })
    }));
    all.extend(asked.iter().map(bind));
    // A mount over /a must come before one over /a/b, in whatever order they were asked for.
    all.sort_by_key(|mount| mount["destination"].as_str().map_or(0, depth));
    all
}

/// A path without doubled and trailing slashes, so that it can be compared.
fn plain(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.map(|part| format!("/{part}")).collect()
}

fn depth(path: &str) -> usize {
    plain(path).matches('/').count()
}

fn base(inputs: &SpecInputs<'_>) -> Vec<Value> {
    // To change the kernel's settings is what a privileged container is for.
    let sys = if inputs.container.config.security.privileged { "rw" } else { "ro" };
    let mut all = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] }),
        json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] }),
        json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
                "options": ["nosuid", "noexec", "nodev"] }),
        json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", sys] }),
        json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "relatime", sys] }),
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
    let access = match (mount.readonly, mount.recursive_read_only) {
        (true, true) => "rro",
        (true, false) => "ro",
        (false, _) => "rw",
    };
    let options = ["rbind", propagation, access];
    json!({ "destination": plain(&mount.container_path), "type": "bind", "source": mount.host_path, "options": options })
}

#[cfg(test)]
mod tests {
    use super::{depth, plain};

    #[test]
    fn paths_are_compared_by_their_parts() {
        assert_eq!(plain("//etc/./hosts/"), "/etc/hosts");
        assert_eq!((depth("/"), depth("/a"), depth("/a//b/")), (0, 1, 2));
    }
}
