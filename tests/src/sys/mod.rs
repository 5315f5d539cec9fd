//! What the harness asks of the kernel without a safe wrapper.
//!
//! Owns: unsafe code of the tests. Never: decides.

use std::{fs::File, io, os::fd::AsRawFd, path::Path};

/// `_IOR('X', 125, __u32)` (fs/xfs/libxfs/xfs_fs.h; ext4 has taken it over).
const FS_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;

/// What a file system still does when it is shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Writes all that it has, then goes.
    Sync = 0,
    /// Writes its journal, but no data.
    LogFlush = 1,
    /// Nothing: what is not on the disk is lost.
    Nothing = 2,
}

/// Shuts a file system down, as a power cut does: from now on every write fails.
pub fn shutdown(mounted: &Path, how: Shutdown) -> io::Result<()> {
    let folder = File::open(mounted)?;
    let flags = how as u32;
    // SAFETY: the descriptor is open, and the kernel reads one u32 from the pointer.
    let done = unsafe { libc::ioctl(folder.as_raw_fd(), FS_IOC_SHUTDOWN, &raw const flags) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
