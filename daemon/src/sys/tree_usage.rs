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

/// Entries after which a walk ends: a container may have made any number, and a statistic is not worth minutes.
/// What was counted so far is told.
const ENTRIES_MAX: u64 = 2_000_000;

/// Bytes of blocks and entries below a folder, itself included. What vanishes meanwhile is not counted; a file
/// with several names counts once. Blocking.
pub fn tree_usage(folder: &Path) -> io::Result<(u64, u64)> {
    let top = rustix::fs::open(folder, flags(), Mode::empty())?;
    let own = rustix::fs::fstat(&top)?;
    let mut walk =
        Walk { device: own.st_dev, bytes: blocks(own.st_blocks), entries: 1, linked: HashSet::new() };
    let mut open = vec![PathBuf::from(".")];
    while let Some(next) = open.pop() {
        // Folders nested deeper than the longest path are not counted.
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        match rustix::fs::openat2(&top, &next, flags(), Mode::empty(), inside) {
            Ok(folder) => walk.look(folder.as_fd(), &next, &mut open)?,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NAMETOOLONG) => {}
            Err(errno) => return Err(errno.into()),
        }
        if walk.entries >= ENTRIES_MAX {
            break;
        }
    }
    Ok((walk.bytes, walk.entries))
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
}

impl Walk {
    fn look(&mut self, folder: BorrowedFd<'_>, path: &Path, open: &mut Vec<PathBuf>) -> io::Result<()> {
        use std::os::unix::ffi::OsStrExt;
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || self.entries >= ENTRIES_MAX {
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
        let (empty, one) = tree_usage(path).unwrap();
        assert_eq!(one, 1);
        fs::create_dir_all(path.join("a/b")).unwrap();
        crate::store::replace(&path.join("a/b/file"), &[7u8; 100_000]).unwrap();
        fs::hard_link(path.join("a/b/file"), path.join("again")).unwrap();
        symlink("/usr", path.join("out")).unwrap();
        let (bytes, entries) = tree_usage(path).unwrap();
        // a, b, file (once), out.
        assert_eq!(entries, 1 + 4);
        assert!((100_000..200_000).contains(&(bytes - empty)), "{bytes} {empty}");
    }
}
