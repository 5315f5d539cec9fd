//! A memory file system for one test or measurement: small, or fast.
//!
//! Owns: its mount, which goes with the value.

use std::{io, path::Path};

use tempfile::TempDir;

/// One mounted tmpfs.
#[derive(Debug)]
pub struct Memory(TempDir);

impl Memory {
    /// Mounts one of so many bytes below /tmp.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn mount(bytes: u64) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("tm.").tempdir_in("/tmp")?;
        let size = format!("size={bytes}");
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("tmpfs"), folder.path(), Some("tmpfs"), flags, Some(size.as_str()))?;
        Ok(Self(folder))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Best effort: a test that failed may have left something in it.
        nix::mount::umount2(self.0.path(), nix::mount::MntFlags::MNT_DETACH).ok();
    }
}
