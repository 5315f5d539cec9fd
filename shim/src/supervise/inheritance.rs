//! What the keeper gives a new shim: a connection to the daemon, or all that a killed shim left.
//!
//! Owns: the sorting of it. Never: uses any of it.

use std::{
    collections::BTreeMap,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use protobuf::Message;
use protocol::keeper::{Kind, Word, word::Verb};

use crate::{
    fault::{Because, Fault},
    sys::packet::Packets,
};

/// One of two beginnings.
#[derive(Debug)]
pub(crate) enum Inheritance {
    /// A new shim: the daemon will say whose it is.
    Connection(UnixStream),
    /// A killed one's place.
    Estate(Box<Estate>),
}

/// What a killed shim left.
#[derive(Debug, Default)]
pub(crate) struct Estate {
    /// Descriptors with the ids of their processes, by kind and number.
    held: BTreeMap<(i32, u32), (OwnedFd, i32)>,
    /// Ends of processes that the keeper has seen.
    pub(crate) ended: Vec<Word>,
    /// How many shims of this container were killed.
    pub(crate) replaced: u32,
}

impl Inheritance {
    /// Waits for all of it. The keeper gives it at once, and its end ends this shim too.
    pub(crate) fn receive(channel: &Packets) -> Result<Self, Fault> {
        let mut estate = Estate::default();
        loop {
            let (packet, fd) = next(channel)?;
            let word = Word::parse_from_bytes(&packet)
                .map_err(|error| Fault::new(format!("a word of the keeper's cannot be read: {error}")))?;
            let kind = word.kind.enum_value_or_default();
            match (word.verb.enum_value_or_default(), fd) {
                (Verb::GIVE, Some(fd)) if kind == Kind::CONNECTION => {
                    return Ok(Self::Connection(UnixStream::from(fd)));
                }
                (Verb::GIVE, Some(fd)) => {
                    estate.held.insert((kind as i32, word.number), (fd, word.pid));
                }
                (Verb::ENDED, _) => estate.ended.push(word),
                (Verb::GO, _) => {
                    estate.replaced = word.replaced;
                    return Ok(Self::Estate(Box::new(estate)));
                }
                _ => {}
            }
        }
    }
}

impl Estate {
    /// Takes one out, with the id of its process.
    pub(crate) fn take(&mut self, kind: Kind, number: u32) -> Option<(OwnedFd, i32)> {
        self.held.remove(&(kind as i32, number))
    }

    /// Takes the first of a kind, with its number.
    pub(crate) fn take_any(&mut self, kind: Kind) -> Option<(u32, OwnedFd, i32)> {
        let &(kind, number) = self.held.keys().find(|(of, _)| *of == kind as i32)?;
        let (fd, pid) = self.held.remove(&(kind, number))?;
        Some((number, fd, pid))
    }

    /// Takes what must be there.
    pub(crate) fn need(&mut self, kind: Kind) -> Result<OwnedFd, Fault> {
        let taken = self.take(kind, 0);
        taken.map(|(fd, _)| fd).ok_or_else(|| Fault::new(format!("the keeper holds no {kind:?}")))
    }

    /// What nobody took.
    pub(crate) fn rest(&self) -> Vec<(Kind, u32)> {
        let kind = |number: i32| <Kind as protobuf::Enum>::from_i32(number).unwrap_or_default();
        self.held.keys().map(|&(of, number)| (kind(of), number)).collect()
    }
}

fn next(channel: &Packets) -> Result<(Vec<u8>, Option<OwnedFd>), Fault> {
    loop {
        match channel.receive() {
            Ok((packet, _)) if packet.is_empty() => return Err(Fault::new("the keeper is gone")),
            Ok(received) => return Ok(received),
            Err(nix::errno::Errno::EAGAIN) => {
                let mut polled = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
                // A signal interrupts it: looked at again.
                poll(&mut polled, PollTimeout::NONE).ok();
            }
            Err(nix::errno::Errno::EINTR) => {}
            other => return other.because(|| "the keeper cannot be heard".into()),
        }
    }
}
