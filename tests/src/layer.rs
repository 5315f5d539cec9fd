//! Makes a tar, such as that of one layer, entry by entry: owned by root, and the same bytes on every run.
//!
//! Owns: the tar's form. Never: reads what it was not given.

use std::io;

use tar::EntryType;

/// A layer in the making.
pub struct Layer(tar::Builder<Vec<u8>>);

impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a layer of {} bytes so far", self.0.get_ref().len())
    }
}

impl Default for Layer {
    fn default() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }
}

fn header(kind: EntryType, mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

impl Layer {
    /// A file.
    ///
    /// # Errors
    /// The name does not fit.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.0.append_data(&mut header(EntryType::Regular, mode, content.len()), path, content)
    }

    /// A folder.
    ///
    /// # Errors
    /// The name does not fit.
    pub fn folder(&mut self, path: &str, mode: u32) -> io::Result<()> {
        self.0.append_data(&mut header(EntryType::Directory, mode, 0), path, io::empty())
    }

    /// A further name of a file.
    ///
    /// # Errors
    /// The name does not fit.
    pub fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.0.append_link(&mut header(EntryType::Link, 0o755, 0), path, target)
    }

    /// A symbolic link with this text.
    ///
    /// # Errors
    /// The name does not fit.
    pub fn symlink(&mut self, path: &str, text: &str) -> io::Result<()> {
        self.0.append_link(&mut header(EntryType::Symlink, 0o777, 0), path, text)
    }

    /// A named pipe.
    ///
    /// # Errors
    /// The name does not fit.
    pub fn pipe(&mut self, path: &str) -> io::Result<()> {
        self.0.append_data(&mut header(EntryType::Fifo, 0o644, 0), path, io::empty())
    }

    /// The tar.
    ///
    /// # Errors
    /// None that happens: it is in memory.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        self.0.into_inner()
    }
}
