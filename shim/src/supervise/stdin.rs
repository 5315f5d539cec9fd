//! The container's stdin: a pipe or a terminal, and the descriptors that feed it.
//!
//! Owns: the writing end and the feeds. Never: blocks on either; keeps more than a small buffer of what the
//! container has not read.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    os::fd::{AsFd, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::stat::{SFlag, fstat},
};

use super::poll::{Poll, Source};
use crate::{
    fault::{Because, Fault},
    limits::{FEED_BUFFER, FEEDS_MAX},
    sys::socket,
};

/// Stdin and what feeds it.
#[derive(Debug, Default)]
pub(crate) struct Stdin {
    to: Option<File>,
    /// Close it when the first feed ends.
    once: bool,
    feeds: BTreeMap<u32, Feed>,
    next: u32,
    /// Waiting for room.
    is_full: bool,
}

#[derive(Debug)]
struct Feed {
    from: OwnedFd,
    is_socket: bool,
    /// Taken and not yet written. The feed is not watched while something is.
    taken: Vec<u8>,
    has_ended: bool,
}

impl Stdin {
    /// A stdin that is fed from now on.
    pub(crate) fn open(to: OwnedFd, once: bool) -> Self {
        Self { to: Some(to.into()), once, ..Self::default() }
    }

    /// The writing end, while it is open.
    pub(crate) fn end(&self) -> Option<&File> {
        self.to.as_ref()
    }

    /// Feeds it from a pipe, a socket or a terminal, until that ends.
    pub(crate) fn feed(&mut self, poll: &Poll, from: OwnedFd) -> Result<(), Fault> {
        if self.to.is_none() {
            return Err(Fault::new("the container has no stdin, or it is closed"));
        }
        if self.feeds.len() >= FEEDS_MAX {
            return Err(Fault::new(format!("{FEEDS_MAX} feeds are at stdin already")));
        }
        let kind = SFlag::from_bits_truncate(
            fstat(&from).because(|| "the feed cannot be looked at".into())?.st_mode,
        ) & SFlag::S_IFMT;
        let is_socket = kind == SFlag::S_IFSOCK;
        if !is_socket && kind != SFlag::S_IFIFO && kind != SFlag::S_IFCHR {
            return Err(Fault::new("the feed is no pipe, socket or terminal"));
        }
        if !is_socket {
            set_nonblocking(&from)?;
        }
        let number = self.next;
        self.next += 1;
        poll.read(&from, Source::Feed(number))?;
        self.feeds.insert(number, Feed { from, is_socket, taken: Vec::new(), has_ended: false });
        Ok(())
    }

    /// A feed has bytes or has ended.
    pub(crate) fn feed_ready(&mut self, poll: &Poll, number: u32, scratch: &mut [u8]) {
        let Some(feed) = self.feeds.get_mut(&number) else { return };
        match feed.read(&mut scratch[..FEED_BUFFER]) {
            Ok(0) => feed.has_ended = true,
            Ok(count) => feed.taken.extend_from_slice(&scratch[..count]),
            Err(Errno::EAGAIN | Errno::EINTR) => return,
            Err(_) => feed.has_ended = true,
        }
        // Watched again when what was taken is written: it would only tell that there is more.
        poll.forget(&feed.from);
        self.write(poll);
    }

    /// Stdin has room, or its reader is gone.
    pub(crate) fn ready(&mut self, poll: &Poll) {
        self.write(poll);
    }

    /// Closes it. What feeds it ends too.
    pub(crate) fn close(&mut self, poll: &Poll) {
        if let Some(to) = self.to.take() {
            poll.forget(&to);
        }
        for feed in std::mem::take(&mut self.feeds).values() {
            poll.forget(&feed.from);
        }
        self.is_full = false;
    }

    fn write(&mut self, poll: &Poll) {
        let Some(to) = &mut self.to else { return };
        let mut is_full = false;
        let mut is_over = false;
        for (&number, feed) in &mut self.feeds {
            while !feed.taken.is_empty() && !is_full {
                match to.write(&feed.taken) {
                    Ok(count) => drop(feed.taken.drain(..count)),
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => is_full = true,
                    // Nobody reads it any more.
                    Err(_) => return self.close(poll),
                }
            }
            if feed.taken.is_empty() {
                feed.taken = Vec::new();
                is_over |= feed.has_ended && self.once;
                // Already watched, where it is another feed's turn that brought us here.
                if !feed.has_ended && poll.read(&feed.from, Source::Feed(number)).is_err() {
                    continue;
                }
            }
        }
        self.feeds.retain(|_, feed| !(feed.has_ended && feed.taken.is_empty()));
        if is_over {
            return self.close(poll);
        }
        if is_full && !self.is_full {
            self.is_full = poll.write(to.as_fd(), Source::Stdin).is_ok();
        } else if !is_full && self.is_full {
            poll.forget(to.as_fd());
            self.is_full = false;
        }
    }
}

impl Feed {
    fn read(&mut self, into: &mut [u8]) -> nix::Result<usize> {
        if self.is_socket {
            return socket::receive_bytes(&self.from, into);
        }
        nix::unistd::read(&self.from, into)
    }
}

/// Makes a descriptor nonblocking, also for those who share its open file.
pub(crate) fn set_nonblocking(fd: impl AsFd) -> Result<(), Fault> {
    let failed = || "a descriptor cannot be made nonblocking".to_owned();
    let flags = fcntl(&fd, FcntlArg::F_GETFL).because(failed)?;
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
    fcntl(&fd, FcntlArg::F_SETFL(flags)).because(failed).map(drop)
}
