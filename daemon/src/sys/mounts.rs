//! Mounting and unmounting, with "already gone" as success where things are taken down.
//!
//! Never: decides what to mount.

use std::{
    io,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
};

/// Mounts a tmpfs of `bytes` for /dev/shm.
pub fn shm(target: &Path, bytes: u64) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = format!("mode=1777,size={bytes}");
    mount(Some("shm"), target, Some("tmpfs"), flags, Some(options.as_str())).map_err(io::Error::from)
}

/// Binds one file or folder at another place.
pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(io::Error::from)
}

/// Takes down every mount at this place, busy or not. Finds none, or no such place: fine.
pub fn unmount(target: &Path) -> io::Result<()> {
    loop {
        match umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// What is mounted at one place.
struct At {
    /// It is seen by other mount namespaces.
    shared: bool,
    /// It is a folder of a file system, not all of it: bound there.
    bound: bool,
}

/// Takes down every mount below a folder, the last one first. An error: one stays.
pub fn unmount_below(folder: &Path) -> io::Result<()> {
    let folder = folder.canonicalize()?;
    for place in mounts_at(&folder)?.1.iter().rev() {
        unmount(place)?;
    }
    match mounts_at(&folder)?.1.first() {
        None => Ok(()),
        Some(place) => Err(io::Error::other(format!("{} stays mounted", place.display()))),
    }
}

/// The mounts at a folder, and the places below it where others are, in the order in which they were made.
fn mounts_at(folder: &Path) -> io::Result<(Vec<At>, Vec<PathBuf>)> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    // As the kernel writes it (proc_pid_mountinfo(5)).
    let place = folder.to_string_lossy().replace('\\', "\\134").replace(' ', "\\040");
    let below = format!("{place}/");
    let mut at = Vec::new();
    let mut inside = Vec::new();
    for line in text.lines() {
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        if point == place {
            let shared = fields.take_while(|field| *field != "-").any(|field| field.starts_with("shared:"));
            at.push(At { shared, bound: root != "/" });
        }
        inside.extend(point.strip_prefix(&below).map(|rest| folder.join(rest)));
    }
    Ok((at, inside))
}

/// Makes a folder a mount whose mounts are seen by other mount namespaces: those who look for pins there see those that
/// are made after them. One that is so already stays as it is; nothing is ever mounted twice.
pub fn share(folder: &Path) -> io::Result<()> {
    let folder = folder.canonicalize()?;
    let (at, inside) = mounts_at(&folder)?;
    match at.last() {
        Some(At { shared: true, .. }) => return Ok(()),
        Some(At { shared: false, .. }) => {}
        // Pins that are there would be hidden, or be there twice.
        None if !inside.is_empty() => return Ok(()),
        None => mount(Some(&folder), &folder, None::<&str>, MsFlags::MS_BIND, None::<&str>)?,
    }
    mount(None::<&str>, &folder, None::<&str>, MsFlags::MS_SHARED, None::<&str>).map_err(io::Error::from)
}

/// Takes back what [`share`] made, where nothing is in the folder any more.
pub fn unshare(folder: &Path) -> io::Result<()> {
    let folder = folder.canonicalize()?;
    let (at, inside) = mounts_at(&folder)?;
    let is_ours = at.last().is_some_and(|at| at.bound && at.shared);
    if !is_ours || !inside.is_empty() || std::fs::read_dir(&folder)?.next().is_some() {
        return Ok(());
    }
    umount2(&folder, MntFlags::UMOUNT_NOFOLLOW).map_err(io::Error::from)
}
