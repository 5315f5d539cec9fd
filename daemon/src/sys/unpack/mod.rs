//! File operations below one folder that cannot leave it: every path is resolved by `openat2` beneath the
//! folder's descriptor, and no symbolic link is ever followed, not even one that stays inside.
//!
//! Owns: the system calls of unpacking and copying layers. Never: knows tar, whiteouts or layers.

mod attributes;
mod remove;

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

pub use attributes::{Attributes, Kind, Xattrs};
pub use remove::remove_tree;
use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid,
        XattrFlags,
    },
    io::Errno,
};

const RESOLVE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Mode of what is being made, until [`Beneath::dress`] gives it its own.
const PRIVATE: u32 = 0o600;

/// A folder below which files are made. The last used subfolder stays open: archives come sorted by folder.
#[derive(Debug)]
pub struct Beneath {
    root: OwnedFd,
    last: Option<(PathBuf, OwnedFd)>,
}

/// Whether an error of the functions here means that the way led through a symbolic link or out of the folder.
pub fn led_astray(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::LOOP | Errno::XDEV))
}

impl Beneath {
    /// Works below this folder, through a descriptor of its own.
    pub fn new(root: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { root: root.try_clone_to_owned()?, last: None })
    }

    /// Opens a folder by path (which is trusted) to work below it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self { root: rustix::fs::open(path, flags, Mode::empty())?, last: None })
    }

    /// What stands at `path`; `None`: nothing. An empty path is the folder itself.
    pub fn kind(&mut self, path: &Path) -> io::Result<Option<Kind>> {
        Ok(self.stat(path)?.as_ref().map(Kind::of))
    }

    /// All that the kernel tells of `path`, links not followed.
    pub fn stat(&mut self, path: &Path) -> io::Result<Option<Stat>> {
        if path.as_os_str().is_empty() {
            return Ok(Some(rustix::fs::fstat(&self.root)?));
        }
        let (parent, name) = self.parent(path)?;
        match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes a folder. Its parent must be there.
    pub fn make_folder(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700))?)
    }

    /// Makes a regular file that was not there, open for writing.
    pub fn make_file(&mut self, path: &Path) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (parent, name) = self.parent(path)?;
        Ok(File::from(rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(PRIVATE))?))
    }

    /// Makes a symbolic link. Its text is never followed here.
    pub fn make_link(&mut self, path: &Path, text: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::symlinkat(text, parent, name)?)
    }

    /// Makes `path` another name of `target`, which may be a symbolic link itself.
    pub fn make_hard_link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        let from = self.folder(target.parent().unwrap_or(Path::new("")))?.try_clone_to_owned()?;
        let old = target.file_name().ok_or(Errno::ISDIR)?;
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::linkat(from, old, parent, name, AtFlags::empty())?)
    }

    /// Makes a device or a named pipe.
    pub fn make_node(&mut self, path: &Path, kind: Kind) -> io::Result<()> {
        let (file_type, numbers) = match kind {
            Kind::Char(major, minor) => (FileType::CharacterDevice, (major, minor)),
            Kind::Block(major, minor) => (FileType::BlockDevice, (major, minor)),
            Kind::Fifo => (FileType::Fifo, (0, 0)),
            Kind::Folder | Kind::File | Kind::Link | Kind::Socket => return Err(Errno::INVAL.into()),
        };
        let device = rustix::fs::makedev(numbers.0, numbers.1);
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::mknodat(parent, name, file_type, Mode::from_raw_mode(PRIVATE), device)?)
    }

    /// Opens a regular file for reading.
    pub fn read_file(&self, path: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        Ok(File::from(rustix::fs::openat2(&self.root, path, flags, Mode::empty(), RESOLVE)?))
    }

    /// The text of a symbolic link.
    pub fn read_link(&mut self, path: &Path) -> io::Result<PathBuf> {
        let (parent, name) = self.parent(path)?;
        let text = rustix::fs::readlinkat(parent, name, Vec::new())?;
        Ok(PathBuf::from(std::ffi::OsStr::from_bytes(text.as_bytes())))
    }

    /// Names in a folder, sorted, without `.` and `..`.
    pub fn names(&mut self, path: &Path) -> io::Result<Vec<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let folder = rustix::fs::openat2(&self.root, place, flags, Mode::empty(), RESOLVE)?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(folder)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_bytes().to_vec());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Removes whatever stands at `path`, with all that is in it. Finds nothing: fine.
    pub fn remove(&mut self, path: &Path) -> io::Result<()> {
        if self.kind(path)? == Some(Kind::Folder) {
            self.last = None;
            let (parent, name) = self.parent(path)?;
            return remove_tree(parent, name.as_bytes());
        }
        let (parent, name) = self.parent(path)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Gives an open file owner, permissions, attributes and time, in the order that keeps setuid bits and
    /// capabilities (a change of owner clears both).
    pub fn dress_file(file: &File, attributes: &Attributes) -> io::Result<()> {
        rustix::fs::fchown(file, Some(uid(attributes)), Some(gid(attributes)))?;
        rustix::fs::fchmod(file, Mode::from_raw_mode(attributes.mode & 0o7777))?;
        for (name, value) in &attributes.xattrs {
            rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty())?;
        }
        if let Some(times) = times(attributes) {
            rustix::fs::futimens(file, &times)?;
        }
        Ok(())
    }

    /// The same for a folder. An empty path is the folder itself.
    pub fn dress_folder(&mut self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let folder = File::from(rustix::fs::openat2(&self.root, place, flags, Mode::empty(), RESOLVE)?);
        Self::dress_file(&folder, attributes)
    }

    /// The same for a link, a device or a named pipe: nothing is opened, a link's own mode stays.
    pub fn dress_node(&mut self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        let link = self.kind(path)? == Some(Kind::Link);
        let (parent, name) = self.parent(path)?;
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(parent, name, Some(uid(attributes)), Some(gid(attributes)), nofollow)?;
        // Through the parent's descriptor: there is no call that sets these on a node relative to a folder.
        let place = path_of(&parent).join(name);
        if !link {
            rustix::fs::chmod(&place, Mode::from_raw_mode(attributes.mode & 0o7777))?;
        }
        for (name, value) in &attributes.xattrs {
            rustix::fs::lsetxattr(&place, name.as_slice(), value, XattrFlags::empty())?;
        }
        if let Some(times) = times(attributes) {
            rustix::fs::utimensat(parent, name, &times, nofollow)?;
        }
        Ok(())
    }

    /// Sets one extended attribute of a folder.
    pub fn mark_folder(&mut self, path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let folder = rustix::fs::openat2(&self.root, place, flags, Mode::empty(), RESOLVE)?;
        Ok(rustix::fs::fsetxattr(folder, name, value, XattrFlags::empty())?)
    }

    /// Extended attributes of a file or folder whose names `wanted` accepts; none where the file system knows
    /// none.
    pub fn xattrs(&mut self, path: &Path, wanted: impl Fn(&[u8]) -> bool) -> io::Result<Xattrs> {
        let place = if path.as_os_str().is_empty() {
            path_of(&self.root).join(".")
        } else {
            let (parent, name) = self.parent(path)?;
            path_of(&parent).join(name)
        };
        let mut list = vec![0_u8; XATTR_LIST_MAX];
        let length = match rustix::fs::llistxattr(&place, &mut list[..]) {
            Ok(length) => length,
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        };
        let mut found = Vec::new();
        for name in list[..length].split(|&b| b == 0).filter(|n| !n.is_empty() && wanted(n)) {
            let mut value = vec![0_u8; XATTR_MAX];
            let length = rustix::fs::lgetxattr(&place, name, &mut value[..])?;
            value.truncate(length);
            found.push((name.to_vec(), value));
        }
        Ok(found)
    }

    /// Writes everything of this file system to the disk.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.root)?)
    }

    fn parent<'a>(&mut self, path: &'a Path) -> io::Result<(BorrowedFd<'_>, &'a std::ffi::OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        Ok((self.folder(path.parent().unwrap_or(Path::new("")))?, name))
    }

    fn folder(&mut self, path: &Path) -> io::Result<BorrowedFd<'_>> {
        if path.as_os_str().is_empty() {
            return Ok(self.root.as_fd());
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let folder = rustix::fs::openat2(&self.root, path, flags, Mode::empty(), RESOLVE)?;
            self.last = Some((path.to_owned(), folder));
        }
        let (_, folder) = self.last.as_ref().expect("set just above");
        Ok(folder.as_fd())
    }
}

/// A path to what a descriptor refers to, for calls that take only paths. Good while the descriptor is open.
pub fn path_of(descriptor: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd()))
}

/// The kernel's own bounds on extended attributes (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX` in linux/limits.h).
const XATTR_LIST_MAX: usize = 65_536;
const XATTR_MAX: usize = 65_536;

fn uid(attributes: &Attributes) -> Uid {
    Uid::from_raw(attributes.uid)
}

fn gid(attributes: &Attributes) -> Gid {
    Gid::from_raw(attributes.gid)
}

fn times(attributes: &Attributes) -> Option<Timestamps> {
    let (seconds, nanos) = attributes.mtime?;
    Some(Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos.into() },
    })
}
