//! Small durable files with a single writer each: new file, sync, rename, sync of the folder.
//!
//! Owns: how daemon state reaches the disk. Never: what stands in it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{limits::STATE_FILE_MAX, steps};

/// Name suffix of a file that is being written, or that keeps its place on the disk; whatever bears it after a crash is
/// rubbish.
pub const TEMPORARY: &str = ".new";

/// Replaces (or makes) a file so that a reader, and the next boot, see all of the old or all of the new.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY);
    let mut file = fresh(Path::new(&temporary))?;
    file.write_all(bytes)?;
    endure(&file, Path::new(&temporary), path)
}

/// What is written becomes the file, durably.
fn endure(file: &File, temporary: &Path, path: &Path) -> io::Result<()> {
    file.sync_data()?;
    put_in_place(temporary, path)?;
    steps::check("store.sync")?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes a folder's entries durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a folder and its parents, mode 0700. Finds it there: fine.
pub fn make_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces a file by a value's JSON.
pub fn replace_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    replace(path, &serde_json::to_vec_pretty(value).map_err(io::Error::other)?)
}

/// As [`replace_json`], but not synced: for what a reboot makes untrue. A reader in this boot sees all of it.
pub fn put_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY);
    let bytes = serde_json::to_vec(value).map_err(io::Error::other)?;
    let mut file = fresh(Path::new(&temporary))?;
    file.write_all(&bytes)?;
    put_in_place(Path::new(&temporary), path)
}

/// Makes room for a file that must be written even when the disk is full by then: its temporary file, of this length, is
/// there from now on. Not synced: a power cut takes it, and then there is a disk to be filled anew.
pub fn reserve(path: &Path, length: usize) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY);
    // Zeros are written, not left out: a hole has no place on the disk.
    fresh(Path::new(&temporary))?.write_all(&vec![0; length])
}

/// As [`replace`], in the room that [`reserve`] has made, where there is any.
pub fn replace_reserved(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY);
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let reserved = OpenOptions::new().write(true).custom_flags(flags.bits()).open(&temporary);
    let Some(mut file) = reserved.ok().filter(|file| file.metadata().is_ok_and(|m| m.is_file())) else {
        return replace(path, bytes);
    };
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)?;
    endure(&file, Path::new(&temporary), path)
}

/// A new file of this name, whatever was there before: a half-written one, or something foreign.
fn fresh(path: &Path) -> io::Result<File> {
    steps::check("store.write")?;
    remove_any(path)?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Renames over a file; a folder that has taken its name goes.
fn put_in_place(from: &Path, to: &Path) -> io::Result<()> {
    steps::check("store.rename")?;
    match fs::rename(from, to) {
        Err(e) if e.kind() == io::ErrorKind::IsADirectory => {
            fs::remove_dir_all(to)?;
            fs::rename(from, to)
        }
        done => done,
    }
}

/// Removes whatever has this name, not what a link leads to. Finds it gone: fine.
fn remove_any(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::IsADirectory => fs::remove_dir_all(path),
        done => done,
    }
}

/// Reads a file of at most [`STATE_FILE_MAX`] bytes; `None`: not there. What is no file of ours (a link, a folder, a pipe
/// that would be waited for) is as bad as damaged content: `InvalidData`.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    read_up_to(path, STATE_FILE_MAX)
}

/// As [`read`], of at most so many bytes.
pub fn read_up_to(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let damaged = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => {
            return Err(damaged("it is a symbolic link"));
        }
        Err(e) => return Err(e),
    };
    if !file.metadata()?.is_file() {
        return Err(damaged("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(damaged(&format!("longer than {most} bytes")));
    }
    Ok(Some(bytes))
}

/// Reads a file of the host's, such as /etc/resolv.conf: those may be links. Else as [`read`].
pub fn read_host(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::canonicalize(path) {
        Ok(path) => read(&path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Reads a value from a file's JSON; `None`: not there.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// Removes a file, durably. Finds it gone: fine.
pub fn remove_file(path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    remove_any(path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Removes a folder and what is in it. Finds it gone: fine.
pub fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Names of the entries of a folder that are UTF-8; a folder that is not there has none.
pub fn names(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
