//! Removing a folder with all that is in it, however deep.
//!
//! Owns: the order of unlinking. Never: follows a link, recurses, or holds a descriptor per level: a container
//! may nest folders far beyond the longest path, and must not take the daemon's stack or descriptors with it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, RenameFlags},
    io::Errno,
};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes the folder `name` of `parent`. A subfolder that holds folders is emptied by moving those up to the
/// top first, so a removal that is cut short can simply be done again. Finds it gone: fine.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let top = match rustix::fs::openat(parent, name, FOLDER, Mode::empty()) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let mut moved = 0;
    while pass(top.as_fd(), &mut moved)? {}
    unlink(parent, name, AtFlags::REMOVEDIR).map(drop)
}

/// Empties what stands in `top` now; whether anything stood there.
fn pass(top: BorrowedFd<'_>, moved: &mut u64) -> io::Result<bool> {
    let mut found = false;
    for entry in Dir::read_from(top)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        found = true;
        if unlink(top, name, AtFlags::empty())? || unlink(top, name, AtFlags::REMOVEDIR)? {
            continue;
        }
        match rustix::fs::openat(top, name, FOLDER, Mode::empty()) {
            Ok(folder) => flatten(folder.as_fd(), top, moved)?,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno.into()),
        }
        unlink(top, name, AtFlags::REMOVEDIR)?;
    }
    Ok(found)
}

/// Removes the files of a folder and moves its subfolders that are not empty up to `top`.
fn flatten(folder: BorrowedFd<'_>, top: BorrowedFd<'_>, moved: &mut u64) -> io::Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..")
            || unlink(folder, name, AtFlags::empty())?
            || unlink(folder, name, AtFlags::REMOVEDIR)?
        {
            continue;
        }
        loop {
            let to = format!(".removing-{moved}");
            *moved += 1;
            match rustix::fs::renameat_with(folder, name, top, to.as_str(), RenameFlags::NOREPLACE) {
                Ok(()) | Err(Errno::NOENT) => break,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    Ok(())
}

/// Unlinks; `false`: it is a folder, or one that is not empty. Finds it gone: done.
fn unlink(parent: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> io::Result<bool> {
    match rustix::fs::unlinkat(parent, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        // POSIX says EPERM, Linux EISDIR; rmdir says ENOTEMPTY, some file systems EEXIST.
        Err(Errno::ISDIR | Errno::PERM) if !flags.contains(AtFlags::REMOVEDIR) => Ok(false),
        Err(Errno::NOTEMPTY | Errno::EXIST) if flags.contains(AtFlags::REMOVEDIR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
