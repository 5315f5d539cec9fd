//! The folder a runtime is given: config.json beside the mount point of the root file system.
//!
//! Owns: the bundle's form on disk. Never: what stands in the spec. Blocking.

use std::{io, path::Path};

use serde_json::Value;

use super::spec::{self, HostLimits};
use crate::{container::Resources, store};

/// Makes the folder and the mount point.
pub fn make(bundle: &Path, rootfs: &Path) -> io::Result<()> {
    store::make_dir(bundle)?;
    store::make_dir(rootfs)
}

/// Puts other limits into a config.json that is there.
pub fn write_limits(bundle: &Path, resources: &Resources, host: &HostLimits) -> io::Result<()> {
    let path = bundle.join("config.json");
    let mut spec: Value =
        store::read_json(&path)?.ok_or_else(|| io::Error::other(format!("{} is gone", path.display())))?;
    spec::set_limits(&mut spec, resources, host);
    write_spec(bundle, &spec)
}

/// Writes config.json. It is made anew after a reboot, so it need not be synced.
pub fn write_spec(bundle: &Path, spec: &Value) -> io::Result<()> {
    use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt};
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(bundle.join("config.json"))?;
    file.write_all(&serde_json::to_vec(spec).map_err(io::Error::other)?)
}
