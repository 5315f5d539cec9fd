//! What a container's spec needs to know of its image and of the host: found here, once, while it is made.
//!
//! Owns: the order of the looks. Never: policy; leaves nothing that `reclaim` does not find by the container's id.
//! Blocking.

use std::{fs, io::Read, path::Path};

use protocol::ids::ContainerId;

use super::{ContainerError, ContainerFacts, Parts, Seccomp, Target, devices, user, volumes};
use crate::{
    limits::SECCOMP_PROFILE_MAX,
    oci::spec::{Found, SpecError, localhost_profile},
    sandbox::{SandboxFacts, Sharing},
    sys::rootfs::RootFs,
};

/// Folders at the root that the kernel's file systems are mounted over. A link there would lead a runtime's masks
/// astray (CVE-2019-16884, CVE-2023-27561).
const NO_LINKS: [&str; 3] = ["proc", "sys", "dev"];

/// Looks at everything. The root file system is mounted.
pub(super) fn prepare(
    facts: &ContainerFacts,
    sandbox: &SandboxFacts,
    target: Option<&Target>,
    parts: &Parts,
    id: &ContainerId,
) -> Result<Found, ContainerError> {
    let security = &facts.config.security;
    let step = |e: std::io::Error| ContainerError::step(&facts.id, "container.spec", e);
    let root = RootFs::open(&parts.layout.rootfs(id)).map_err(step)?;
    for name in NO_LINKS {
        if root.is_link(name).map_err(step)? {
            return Err(ContainerError::LinkedRoot { name });
        }
    }
    let user = user::resolve(&root, security, &facts.image_user)?;
    let devices = if security.privileged {
        let mut all = devices::all()?;
        // What was asked for by name may be elsewhere inside.
        let asked = devices::asked(&facts.config.devices)?;
        all.retain(|node| !asked.iter().any(|other| other.path == node.path));
        all.extend(asked);
        all
    } else {
        devices::asked(&facts.config.devices)?
    };
    let seccomp = match &security.seccomp {
        Seccomp::Localhost(path) if !security.privileged => Some(profile(path, facts, parts)?),
        Seccomp::Localhost(_) | Seccomp::Unconfined | Seccomp::RuntimeDefault => None,
    };
    let volumes = volumes::wanted(facts)?;
    // Programs of old ask /etc/mtab what is mounted. A read-only image without it stays without it.
    drop(root.link_if_missing("etc", "mtab", "/proc/mounts"));
    let volumes = volumes::make(&root, volumes, &parts.layout.volumes(id))?;
    let target_pid = match target {
        Some(target) => {
            let pin = parts.layout.target_pin(id);
            target.pin(parts, &pin)?;
            Some(pin)
        }
        None => None,
    };
    Ok(Found { user, hostname: hostname(sandbox), devices, volumes, seccomp, target_pid })
}

fn hostname(sandbox: &SandboxFacts) -> String {
    if sandbox.config.network != Sharing::Node && !sandbox.config.hostname.is_empty() {
        return sandbox.config.hostname.clone();
    }
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// The profile of a file of the host: a regular one, not too long.
fn profile(path: &str, facts: &ContainerFacts, parts: &Parts) -> Result<serde_json::Value, ContainerError> {
    let bad = |why: String| SpecError::Seccomp { path: path.to_owned(), why };
    let read = || {
        let Some(mut file) = RootFs::open(Path::new("/"))?.read(path, SECCOMP_PROFILE_MAX)? else {
            return Err(std::io::Error::other("it is not there"));
        };
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|e| bad(e.to_string()))?;
    Ok(localhost_profile(&text, &facts.config.security, &parts.host, kernel()).map_err(bad)?)
}

/// The kernel's version, as profiles compare it.
fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
