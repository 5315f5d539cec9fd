//! Exclusive locks on files, held for as long as the value lives.
//!
//! `flock(2)`: bound to the open file, so a descriptor inherited by nobody frees it at death. Never: waits.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::fcntl::{Flock, FlockArg};

/// A held lock.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held for its drop")] Flock<File>);

/// What came of trying.
#[derive(Debug)]
pub enum TryLock {
    /// It is ours now.
    Held(Lock),
    /// Somebody else holds it; the text is what the holder wrote into the file (its pid), if anything.
    Busy(String),
}

fn open(path: &Path) -> io::Result<File> {
    // Not through a link: what is written into it is ours alone.
    let flags = nix::fcntl::OFlag::O_NOFOLLOW.bits();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    match options.open(path) {
        // One that is there can be locked all the same.
        Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            OpenOptions::new().read(true).custom_flags(flags).open(path)
        }
        done => done,
    }
}

/// Tries to take the lock on this file and to write `owner` into it.
pub fn try_lock(path: &Path, owner: &str) -> io::Result<TryLock> {
    match Flock::lock(open(path)?, FlockArg::LockExclusiveNonblock) {
        Ok(mut held) => {
            // Over what is there, without a new block: a full disk keeps nobody from starting, and the name is for people.
            let told = held.write_all(owner.as_bytes()).and_then(|()| held.set_len(owner.len() as u64));
            if let Err(error) = told {
                tracing::debug!(path = %path.display(), %error, "a lock does not say whose it is");
            }
            Ok(TryLock::Held(Lock(held)))
        }
        Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
            let mut text = String::new();
            (&mut file).take(64).read_to_string(&mut text).ok();
            Ok(TryLock::Busy(text.trim().to_owned()))
        }
        Err((_, errno)) => Err(errno.into()),
    }
}

/// Whether nobody holds the lock on this file. A file that is not there is held by nobody.
pub fn is_free(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(e) => return Err(e),
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(_) => Ok(true),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(false),
        Err((_, errno)) => Err(errno.into()),
    }
}
