//! The role of keeping: one process per node, parent of all shims, which holds duplicates of what a container must not
//! lose when its shim is killed, and puts another in its place.
//!
//! Owns: shims, and what they showed. Never: reads a container's output; knows what a journal says; talks to a runtime.

mod child;
mod listener;
mod node;
mod orders;
mod poll;
mod slot;

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::{
    fcntl::{Flock, FlockArg},
    libc::O_NOFOLLOW,
    sys::signalfd::{SfdFlags, SignalFd},
};
use protocol::keeperdir::KeeperDir;

use self::node::Node;
use crate::{
    fault::{Because, Fault},
    sys::{birth, packet::Packets},
};

/// Keeps the shims of the node whose daemon is at standard input, with its socket and its lock in this folder.
pub(crate) fn run(folder: Option<&str>) -> Result<(), Fault> {
    let folder = folder.ok_or_else(|| Fault::new("keeper: the folder of its socket is missing"))?;
    let dir = KeeperDir::new(Path::new(folder));
    birth::close_inherited().because(|| "inherited descriptors cannot be closed".into())?;
    let inherited = birth::become_supervisor().because(|| "this process cannot become a keeper".into())?;
    birth::name(c"taffrail-keeper").because(|| "this process cannot be named".into())?;
    let null = File::options().read(true).write(true).open("/dev/null").because(|| "/dev/null".into())?;
    let daemon = birth::take_stdin(&null).because(|| "standard input cannot be taken".into())?;
    let daemon = Packets::from(daemon).because(|| "standard input is no packet socket".into())?;
    birth::let_pipes_go(&null).because(|| "the standard streams cannot be replaced".into())?;
    let signals = birth::block_child_signal().because(|| "SIGCHLD cannot be blocked".into())?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let children = SignalFd::with_flags(&signals, flags).because(|| "SIGCHLD cannot be read".into())?;
    let _lock = lock(&dir)?;
    let listener = listener::bind(&dir)?;
    let mut node = Node::new(children, listener, (null, inherited), daemon)?;
    let left = node.run();
    // Before the lock is free: whoever connects from now on finds nobody, and starts another.
    drop(fs::remove_file(dir.socket()));
    left
}

/// Waits for an earlier keeper that is about to leave. The daemon's patience with us is the bound.
fn lock(dir: &KeeperDir) -> Result<Flock<File>, Fault> {
    let path = dir.lock();
    let failed = || format!("the lock {} cannot be had", path.display());
    make_way(&path, fs::FileType::is_file).because(failed)?;
    let mut options = File::options();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(O_NOFOLLOW);
    let file = options.open(&path).because(failed)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).because(failed)
}

/// Takes away what stands at this path and is not what is to be there: somebody put it there.
fn make_way(path: &Path, is_right: fn(&fs::FileType) -> bool) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if is_right(&found.file_type()) => Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}
