//! A look from inside another network namespace.
//!
//! Owns: the thread that goes in. Never: brings a thread back: it ends there, so no pool ever gets one that is
//! in another namespace.

use std::{fs::File, io, path::Path, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

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
