//! The volumes that an image declares: folders of the container's own with what the image has there, gone with the
//! container.
//!
//! Owns: which of them are made. Never: shows them as mounts; nobody asked for them. Blocking.

use std::path::{Path, PathBuf};

use super::{ContainerError, ContainerFacts};
use crate::{limits::VOLUMES_MAX, snapshot, store, sys::rootfs::RootFs};

/// Where an image may not have one: these are the kernel's, and a volume over them would hide what masks them.
const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Absolute paths that stay inside, without those that a mount of the request covers.
pub(super) fn wanted(facts: &ContainerFacts) -> Result<Vec<String>, ContainerError> {
    let mut paths = Vec::new();
    for path in &facts.image_volumes {
        let bad = |why: &str| ContainerError::Volume { path: path.clone(), why: why.to_owned() };
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let plain: String = parts.iter().map(|part| format!("/{part}")).collect();
        if parts.is_empty()
            || parts.contains(&"..")
            || path.contains('\0')
            || path.len() > crate::limits::PATH_MAX
        {
            return Err(bad("it is no path below the root"));
        }
        if KERNELS.iter().any(|kernel| Path::new(&plain).starts_with(kernel)) {
            return Err(bad("that place is the kernel's"));
        }
        let covered =
            facts.config.mounts.iter().any(|mount| Path::new(&plain).starts_with(&mount.container_path));
        if !covered && !paths.contains(&plain) {
            paths.push(plain);
        }
    }
    if paths.len() > VOLUMES_MAX {
        let why = format!("it declares more than {VOLUMES_MAX}");
        return Err(ContainerError::Volume { path: "the image's volumes".to_owned(), why });
    }
    Ok(paths)
}

/// Makes each below `folder`.
pub(super) fn make(
    root: &RootFs,
    paths: Vec<String>,
    folder: &Path,
) -> Result<Vec<(String, PathBuf)>, ContainerError> {
    let mut made = Vec::new();
    for path in paths {
        let target = folder.join(made.len().to_string());
        let copied = store::make_dir(&target).and_then(|()| {
            // As if the path were the container's: a link in the image leads to the image's own folders.
            match root.folder(path.trim_start_matches('/'))? {
                Some(source) => snapshot::copy_folder(&source, &target),
                None => snapshot::open_to_all(&target),
            }
        });
        copied.map_err(|e| ContainerError::Volume { path: path.clone(), why: e.to_string() })?;
        made.push((path, target));
    }
    Ok(made)
}
