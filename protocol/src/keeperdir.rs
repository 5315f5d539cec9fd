//! File names of the keeper: one authority for daemon and keeper.
//!
//! Owns: names. Never: touches the file system.

use std::path::{Path, PathBuf};

/// The folder of the keeper's files: the daemon's state folder, mode 0700.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeeperDir(PathBuf);

impl KeeperDir {
    /// The folder at this absolute path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Held with an exclusive `flock` by the keeper for life.
    pub fn lock(&self) -> PathBuf {
        self.0.join("keeper.lock")
    }

    /// The packet socket, mode 0600. Its path may exceed `sun_path`: go through `/proc/self/fd/N/keeper.sock`.
    pub fn socket(&self) -> PathBuf {
        self.0.join(Self::SOCKET)
    }

    /// File name of the packet socket.
    pub const SOCKET: &'static str = "keeper.sock";
}
