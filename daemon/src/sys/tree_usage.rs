//! How much a folder holds.
//!
//! Owns: a walk that stays inside. Never: follows a link, crosses into another file system, recurses.

use std::{
    collections::HashSet,
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

/// Bytes of a block, whatever the file system's own are (stat(2)).
const BLOCK: u64 = 512;

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeUsage {
    /// Bytes of the blocks in use.
    pub bytes: u64,
    /// Files, folders and all else, the folder itself included.
    pub entries: u64,
    /// All was counted; else the walk ended at its bound.
    pub whole: bool,
}

/// Counts what is below a folder, up to `most` entries. What vanishes meanwhile is not counted; a file with several
/// names counts once. Blocking.
pub fn tree_usage(folder: &Path, most: u64) -> io::Result<TreeUsage> {
    let top = rustix::fs::open(folder, flags(), Mode::empty())?;
    let own = rustix::fs::fstat(&top)?;
    let mut walk =
        Walk { device: own.st_dev, bytes: blocks(own.st_blocks), entries: 1, linked: HashSet::new(), most };
    let mut open = vec![PathBuf::from(".")];
    while let Some(next) = open.pop() {
        // Folders nested deeper than the longest path are not counted.
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        match rustix::fs::openat2(&top, &next, flags(), Mode::empty(), inside) {
            Ok(folder) => walk.look(folder.as_fd(), &next, &mut open)?,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NAMETOOLONG) => {}
            Err(errno) => return Err(errno.into()),
        }
        if walk.entries >= most {
            break;
        }
    }
    Ok(TreeUsage { bytes: walk.bytes, entries: walk.entries, whole: walk.entries < most })
}

fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn blocks(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0).saturating_mul(BLOCK)
}

struct Walk {
    device: u64,
    bytes: u64,
    entries: u64,
    /// Files of several names that were counted.
    linked: HashSet<u64>,
    most: u64,
}

impl Walk {
    fn look(&mut self, folder: BorrowedFd<'_>, path: &Path, open: &mut Vec<PathBuf>) -> io::Result<()> {
        use std::os::unix::ffi::OsStrExt;
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || self.entries >= self.most {
                continue;
            }
            let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno.into()),
            };
            if stat.st_dev != self.device {
                continue;
            }
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                open.push(path.join(std::ffi::OsStr::from_bytes(name.to_bytes())));
            } else if stat.st_nlink > 1 && !self.linked.insert(stat.st_ino) {
                continue;
            }
            self.entries += 1;
            self.bytes = self.bytes.saturating_add(blocks(stat.st_blocks));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::tree_usage;

    #[test]
    fn links_are_counted_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let empty = tree_usage(path, 100).unwrap();
        assert_eq!((empty.entries, empty.whole), (1, true));
        fs::create_dir_all(path.join("a/b")).unwrap();
        crate::store::replace(&path.join("a/b/file"), &[7u8; 100_000]).unwrap();
        fs::hard_link(path.join("a/b/file"), path.join("again")).unwrap();
        symlink("/usr", path.join("out")).unwrap();
        let all = tree_usage(path, 100).unwrap();
        // a, b, file (once), out.
        assert_eq!((all.entries, all.whole), (1 + 4, true));
        assert!((100_000..200_000).contains(&(all.bytes - empty.bytes)), "{all:?} {empty:?}");
        assert!(!tree_usage(path, 2).unwrap().whole);
    }
}
