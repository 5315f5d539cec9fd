//! A look from inside another network namespace, and a move of this whole process into a new one.
//!
//! Owns: the thread that goes in. Never: brings a thread back: it ends there, so no pool ever gets one that is
//! in another namespace.

use std::{fs::File, io, os::fd::AsFd, path::Path, thread};

use nix::sched::{CloneFlags, unshare};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::netlink;

/// Stack of the looking thread in bytes: it reads a small file.
const STACK: usize = 128 << 10;

/// Runs `work` in the network namespace that is pinned at this path, on a thread of its own. Blocking.
///
/// # Errors
/// The pin cannot be opened or is no network namespace; no thread can be had.
pub fn inside<T: Send>(pin: &Path, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    apart(move || {
        enter(pin)?;
        Ok(work())
    })?
}

/// The same in each of these, one after the other, on one thread for all: on a busy machine a thread for each would wait
/// for its turn each time. Blocking.
///
/// # Errors
/// No thread can be had. Those of one namespace are its own.
pub fn inside_each<T: Send>(
    pins: &[impl AsRef<Path> + Sync],
    work: impl Fn() -> T + Send,
) -> io::Result<Vec<io::Result<T>>> {
    // Where one cannot be entered, the thread is still in the one before, and does not look.
    apart(move || pins.iter().map(|pin| enter(pin.as_ref()).map(|()| work())).collect())
}

fn enter(pin: &Path) -> io::Result<()> {
    let namespace = File::open(pin)?;
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".to_owned()).stack_size(STACK);
        let looking = thread.spawn_scoped(scope, work)?;
        looking.join().map_err(|_| io::Error::other("the look into a network namespace panicked"))
    })
}

/// Moves this process, which has one thread yet, into a network namespace of its own with loopback up. What it starts
/// from then on lives there too.
///
/// # Errors
/// The kernel refuses: not root, or no such namespaces.
pub fn enter_new() -> io::Result<()> {
    /// Index of `lo` in every new network namespace.
    const LOOPBACK: u32 = 1;
    unshare(CloneFlags::CLONE_NEWNET)?;
    netlink::link_up(&mut netlink::Netlink::open()?, LOOPBACK)
}
