//! Devices of the host for a container: those that were asked for, or all of them for a privileged one.
//!
//! Owns: what is a device and what is passed over. Never: makes a node; the runtime does. Blocking.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use super::{ContainerError, Device};
use crate::{limits::DEVICES_MAX, oci::spec::DeviceNode};

/// Names below /dev that a container has its own of.
const OWN: [&str; 6] = ["pts", "shm", "mqueue", "fd", "console", "ptmx"];

/// All that was asked for. A path that is not there, or is no device, is an error that names it.
pub(super) fn asked(devices: &[Device]) -> Result<Vec<DeviceNode>, ContainerError> {
    let mut found = Vec::new();
    for device in devices {
        let bad = |why: String| ContainerError::Device { path: device.host_path.clone(), why };
        let real = fs::canonicalize(&device.host_path).map_err(|e| bad(e.to_string()))?;
        let meta = fs::metadata(&real).map_err(|e| bad(e.to_string()))?;
        if meta.is_dir() {
            let before = found.len();
            walk(&real, &mut |path| {
                let below = path.strip_prefix(&real).unwrap_or(path);
                let inside = Path::new(&device.container_path).join(below);
                found.extend(node(path, inside, &device.permissions));
                found.len() <= DEVICES_MAX
            })
            .map_err(|e| bad(e.to_string()))?;
            if found.len() == before {
                return Err(bad("the folder holds no device".to_owned()));
            }
        } else {
            let node = node(&real, PathBuf::from(&device.container_path), &device.permissions);
            found.push(node.ok_or_else(|| bad("it is no device".to_owned()))?);
        }
    }
    Ok(found)
}

/// All of the host's.
pub(super) fn all() -> Result<Vec<DeviceNode>, ContainerError> {
    let mut found = Vec::new();
    let walked = walk(Path::new("/dev"), &mut |path| {
        found.extend(node(path, path.to_owned(), "rwm"));
        found.len() <= DEVICES_MAX
    });
    walked.map_err(|e| ContainerError::Device { path: "/dev".to_owned(), why: e.to_string() })?;
    Ok(found)
}

/// Goes through a folder, links not followed, until `see` has enough.
fn walk(folder: &Path, see: &mut dyn FnMut(&Path) -> bool) -> io::Result<()> {
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next)? {
            let entry = entry?;
            if next == Path::new("/dev") && entry.file_name().to_str().is_none_or(|name| OWN.contains(&name))
            {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if (kind.is_char_device() || kind.is_block_device()) && !see(&entry.path()) {
                return Err(io::Error::other(format!("more than {DEVICES_MAX} devices")));
            }
        }
    }
    Ok(())
}

/// `None`: no device (or one that went away meanwhile).
fn node(path: &Path, inside: PathBuf, access: &str) -> Option<DeviceNode> {
    let meta = fs::symlink_metadata(path).ok()?;
    let kind = meta.file_type();
    if !kind.is_char_device() && !kind.is_block_device() {
        return None;
    }
    let numbers = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    Some(DeviceNode {
        path: inside.to_str()?.to_owned(),
        block: kind.is_block_device(),
        numbers,
        mode: meta.mode() & 0o7777,
        owner: (meta.uid(), meta.gid()),
        access: access.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::{all, asked};
    use crate::container::Device;

    fn device(host: &str) -> Device {
        Device { container_path: "/dev/x".into(), host_path: host.into(), permissions: "rw".into() }
    }

    #[test]
    fn a_device_is_found_and_what_is_none_is_named() {
        let null = asked(&[device("/dev/null")]).unwrap();
        assert_eq!((null[0].numbers, null[0].block, null[0].path.as_str()), ((1, 3), false, "/dev/x"));
        for bad in ["/no/such", "/etc/passwd", "/etc"] {
            assert!(asked(&[device(bad)]).unwrap_err().to_string().contains(bad));
        }
        assert!(all().unwrap().iter().any(|node| node.path == "/dev/null"));
        assert!(!all().unwrap().iter().any(|node| node.path.starts_with("/dev/pts")));
    }
}
