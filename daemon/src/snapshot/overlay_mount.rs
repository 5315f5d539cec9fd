//! How an overlay gets mounted: by the new mount calls, which take any number of layers, or where the kernel
//! has no `lowerdir+` (before 6.7), by mount(2), whose options must fit into one page.
//!
//! Owns: mount options. Never: decides what is mounted.

use std::{
    io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{AtFlags, CWD, StatxAttributes, StatxFlags},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
        fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
    },
};

use crate::snapshot::{
    SnapshotError,
    limits::{FSCONFIG_VALUE_MAX, MOUNT_MESSAGE_MAX, MOUNT_OPTIONS_MAX},
};

/// `index` would tie an upper folder to one set of layers for ever, `metacopy` would leave a file's bytes
/// below; neither is worth its surprises to a container, and a kernel may have them on by default.
const FIXED: [(&str, &str); 2] = [("index", "off"), ("metacopy", "off")];

/// Nothing is written to the disk for its own sake: a container's root file system does not outlive the host,
/// and taking it down would otherwise wait for all it wrote. Kernels before 5.10 do not know the option.
const VOLATILE: &str = "volatile";

/// This kernel mounts by mount(2) only: found out at the first mount, the trial at the daemon's start.
static CALLS_REFUSED: AtomicBool = AtomicBool::new(false);

/// What is mounted.
#[derive(Debug)]
pub(super) struct Stack {
    /// Topmost first; at least one.
    pub(super) lower: Vec<String>,
    /// Where changes go.
    pub(super) upper: String,
    /// overlay's own scratch folder, on the same file system.
    pub(super) work: String,
}

impl Stack {
    /// Mounts it at `target`.
    pub(super) fn mount(&self, target: &Path) -> Result<(), SnapshotError> {
        let fits = |text: &String| text.len() <= FSCONFIG_VALUE_MAX;
        let calls = !CALLS_REFUSED.load(Ordering::Relaxed)
            && self.lower.iter().chain([&self.upper, &self.work]).all(fits);
        if calls && let Some(result) = self.by_calls(target) {
            return result;
        }
        let mounted = self.by_options(target);
        if calls && mounted.is_ok() {
            // An old kernel: it would tell its log of every further try.
            CALLS_REFUSED.store(true, Ordering::Relaxed);
        }
        mounted
    }

    /// By fsopen and its kin; `None`: this kernel cannot.
    fn by_calls(&self, target: &Path) -> Option<Result<(), SnapshotError>> {
        let context = match fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(context) => context,
            Err(Errno::NOSYS | Errno::PERM) => return None,
            Err(errno) => return Some(Err(refused(target, String::new(), errno.into()))),
        };
        let made = (|| {
            fsconfig_set_string(&context, "source", "overlay")?;
            for lower in &self.lower {
                fsconfig_set_string(&context, "lowerdir+", lower.as_str())?;
            }
            fsconfig_set_string(&context, "upperdir", self.upper.as_str())?;
            fsconfig_set_string(&context, "workdir", self.work.as_str())?;
            for (key, value) in FIXED {
                fsconfig_set_string(&context, key, value)?;
            }
            match fsconfig_set_flag(&context, VOLATILE) {
                Ok(()) | Err(Errno::INVAL) => {}
                Err(errno) => return Err(errno),
            }
            fsconfig_create(&context)
        })();
        // Kernels before 6.5 take any word here and refuse it when the file system is made. If something else was
        // meant, mount(2) says so again.
        if made == Err(Errno::INVAL) {
            return None;
        }
        let mounted = made.and_then(|()| {
            let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
            move_mount(&mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        });
        Some(mounted.map_err(|errno| refused(target, words(&context), errno.into())))
    }

    fn by_options(&self, target: &Path) -> Result<(), SnapshotError> {
        let mut options = format!("lowerdir={}", self.lower.join(":"));
        options += &format!(",upperdir={},workdir={}", self.upper, self.work);
        for (key, value) in FIXED {
            options += &format!(",{key}={value}");
        }
        if options.len() + VOLATILE.len() >= MOUNT_OPTIONS_MAX {
            let why = format!("their mount options take {} of {MOUNT_OPTIONS_MAX} bytes", options.len());
            return Err(SnapshotError::TooManyLayers { count: self.lower.len(), why });
        }
        let attempt = |options: String| -> io::Result<()> {
            let options = std::ffi::CString::new(options)?;
            let flags = MountFlags::empty();
            Ok(rustix::mount::mount("overlay", target, "overlay", flags, options.as_c_str())?)
        };
        let mounted = match attempt(format!("{options},{VOLATILE}")) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => attempt(options),
            other => other,
        };
        mounted.map_err(|error| refused(target, String::new(), error))
    }
}

/// Whether something is mounted exactly here. No such place: no.
pub(super) fn is_mount_point(target: &Path) -> io::Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(CWD, target, flags, StatxFlags::empty()) {
        Ok(found) => Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Takes down every mount at this place: plainly, so that all is written and nobody is left inside; if someone
/// is, off the tree at least. Finds none, or no such place: fine.
pub(super) fn unmount(target: &Path) -> io::Result<()> {
    let mut flags = UnmountFlags::NOFOLLOW;
    loop {
        match rustix::mount::unmount(target, flags) {
            Ok(()) => {}
            Err(Errno::BUSY) if !flags.contains(UnmountFlags::DETACH) => flags |= UnmountFlags::DETACH,
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn refused(target: &Path, words: String, source: io::Error) -> SnapshotError {
    SnapshotError::Mount { target: target.to_owned(), words, source }
}

/// What the kernel wrote into the context to explain itself, with ": " before it; mostly nothing.
fn words(context: &impl std::os::fd::AsFd) -> String {
    let mut text = String::new();
    let mut buffer = [0_u8; MOUNT_MESSAGE_MAX];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut buffer) {
        let line = String::from_utf8_lossy(&buffer[..length]);
        text += if text.is_empty() { ": " } else { "; " };
        text += line.trim_end().trim_start_matches(['e', 'w', 'i']).trim_start();
        if text.len() > MOUNT_MESSAGE_MAX {
            break;
        }
    }
    text
}
