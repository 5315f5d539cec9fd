//! Looking into a container's root file system without leaving it: every path is resolved by `openat2` as if the
//! folder were the root, so that a link in an image leads to the image's own files, and nothing but regular files
//! is ever opened for reading.
//!
//! Owns: the system calls. Never: knows what is in a file.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

const RESOLVE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// A root file system.
#[derive(Debug)]
pub struct RootFs(OwnedFd);

impl RootFs {
    /// Opens the folder, whose path is trusted.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Opens a regular file of at most `most` bytes; `None`: there is none. Anything else that stands there (a named
    /// pipe, a device, a folder, a loop of links) is an error, and is not opened.
    pub fn read(&self, path: &str, most: u64) -> io::Result<Option<File>> {
        let handle = match self.handle(path, OFlags::empty()) {
            Ok(handle) => handle,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(Errno::LOOP) => return Err(io::Error::other("it is a loop of links")),
            Err(errno) => return Err(errno.into()),
        };
        let stat = rustix::fs::fstat(&handle)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no regular file"));
        }
        if u64::try_from(stat.st_size).unwrap_or(u64::MAX) > most {
            return Err(io::Error::other(format!("it is longer than {most} bytes")));
        }
        // Through the handle: what the path leads to may have changed since.
        let place = format!("/proc/self/fd/{}", handle.as_raw_fd());
        Ok(Some(File::from(rustix::fs::open(place, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)))
    }

    /// Opens a folder; `None`: there is none, or something else.
    pub fn folder(&self, path: &str) -> io::Result<Option<OwnedFd>> {
        match self.handle(path, OFlags::DIRECTORY) {
            Ok(_) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                Ok(Some(rustix::fs::openat2(&self.0, path, flags, Mode::empty(), RESOLVE)?))
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether a symbolic link stands at this name of the root folder itself.
    pub fn is_link(&self, name: &str) -> io::Result<bool> {
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Symlink),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes a link `name` in `folder`, where the folder is there and the name is not.
    pub fn link_if_missing(&self, folder: &str, name: &str, text: &str) -> io::Result<()> {
        let Some(folder) = self.folder(folder)? else { return Ok(()) };
        match rustix::fs::symlinkat(text, folder, name) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn handle(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        rustix::fs::openat2(&self.0, path, OFlags::PATH | OFlags::CLOEXEC | flags, Mode::empty(), RESOLVE)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, os::unix::fs::symlink};

    use super::RootFs;

    fn text(root: &RootFs, path: &str) -> Option<String> {
        let mut text = String::new();
        root.read(path, 100).ok()??.read_to_string(&mut text).ok()?;
        Some(text)
    }

    #[test]
    fn links_stay_inside_and_only_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (outside, inside) = (folder.path().join("secret"), folder.path().join("root"));
        fs::create_dir_all(inside.join("etc")).unwrap();
        fs::File::create(&outside).unwrap();
        crate::store::replace(&inside.join("etc/real"), b"mine").unwrap();
        symlink("../../../../etc/real", inside.join("etc/inside")).unwrap();
        symlink(&outside, inside.join("etc/outside")).unwrap();
        symlink("loop", inside.join("etc/loop")).unwrap();
        nix::unistd::mkfifo(&inside.join("etc/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::File::create(inside.join("etc/huge")).unwrap().set_len(1 << 40).unwrap();
        let root = RootFs::open(&inside).unwrap();
        assert_eq!(text(&root, "etc/inside").as_deref(), Some("mine"));
        assert!(root.read("etc/outside", 100).unwrap().is_none());
        assert!(root.read("etc/none", 100).unwrap().is_none());
        assert!(root.read("etc/real/x", 100).unwrap().is_none());
        for (bad, word) in
            [("etc/pipe", "regular"), ("etc", "regular"), ("etc/huge", "longer"), ("etc/loop", "loop")]
        {
            let error = root.read(bad, 100).unwrap_err().to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
        root.link_if_missing("etc", "mtab", "/proc/mounts").unwrap();
        root.link_if_missing("etc", "mtab", "/other").unwrap();
        root.link_if_missing("none", "mtab", "/other").unwrap();
        assert_eq!(fs::read_link(inside.join("etc/mtab")).unwrap().to_str(), Some("/proc/mounts"));
    }
}
