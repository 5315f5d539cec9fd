//! A look from inside another network namespace, and a move of this whole process into a new one.
//!
//! Owns: the thread that goes in. Never: brings a thread back: it ends there, so no pool ever gets one that is
//! in another namespace.

use std::{fs::File, io, path::Path, thread};

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
    use std::os::fd::AsFd;
    let namespace = File::open(pin)?;
    thread::scope(|scope| {
        let looking = thread::Builder::new().name("netns".to_owned()).stack_size(STACK).spawn_scoped(
            scope,
            move || -> io::Result<T> {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(work())
            },
        )?;
        looking.join().map_err(|_| io::Error::other("the look into a network namespace panicked"))?
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
