//! The way to the keeper: what this shim must not take with it when it is killed is held there too.
//!
//! What is told is in the keeper's queue when the call is back, whatever becomes of this shim. A keeper that does not
//! read, or is gone, is none: the shim goes on without, until the daemon brings it another.
//!
//! Owns: the channel. Never: waits for the keeper.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use protobuf::Message;
use protocol::keeper::{Kind, Word, word::Verb};

use super::poll::{Poll, Source};
use crate::{
    fault::{Because, Fault},
    sys::packet::Packets,
};

/// The channel, where there is a keeper.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    channel: Option<Packets>,
}

impl Kept {
    /// A channel to a keeper.
    pub(crate) fn by(channel: Packets) -> Self {
        Self { channel: Some(channel) }
    }

    /// Another keeper, brought by the daemon.
    pub(crate) fn replace(&mut self, poll: &Poll, fd: OwnedFd) -> Result<(), Fault> {
        // Two keepers, or one twice, would each start a shim in the place of this one.
        self.done();
        self.lose(poll);
        let channel = Packets::from(fd).because(|| "the way to the keeper is no packet socket".into())?;
        poll.read(&channel, Source::Keeper)?;
        self.channel = Some(channel);
        Ok(())
    }

    /// Whether there is a keeper that has not ended, as far as the channel tells.
    pub(crate) fn is_whole(&self) -> bool {
        let Some(channel) = &self.channel else { return false };
        let mut polled = [PollFd::new(channel.as_fd(), PollFlags::empty())];
        // Closed from either side it hangs up.
        nix::poll::poll(&mut polled, PollTimeout::ZERO) == Ok(0)
    }

    /// Watches for what the keeper says.
    pub(crate) fn watch(&self, poll: &Poll) -> Result<(), Fault> {
        self.channel.as_ref().map_or(Ok(()), |channel| poll.read(channel, Source::Keeper))
    }

    /// To be held, in place of an earlier one of the same kind and number.
    pub(crate) fn hold(&mut self, kind: Kind, number: u32, pid: i32, fd: impl AsFd) {
        self.say(&Word { pid, ..word(Verb::HOLD, kind, number) }, Some(fd.as_fd()));
    }

    /// The journal, and whose it is.
    pub(crate) fn hold_memory(&mut self, id: &str, fd: impl AsFd) {
        self.say(&Word { text: id.into(), ..word(Verb::HOLD, Kind::MEMORY, 0) }, Some(fd.as_fd()));
    }

    /// Not needed any more.
    pub(crate) fn release(&mut self, kind: Kind, number: u32) {
        self.say(&word(Verb::DROP, kind, number), None);
    }

    /// This shim is in the place of its predecessor.
    pub(crate) fn taken(&mut self) {
        self.say(&word(Verb::TAKEN, Kind::KIND_UNSPECIFIED, 0), None);
    }

    /// The container's end is on disk.
    pub(crate) fn done(&mut self) {
        self.say(&word(Verb::DONE, Kind::KIND_UNSPECIFIED, 0), None);
    }

    /// What the keeper says; empty: nothing more now. `Err`: it is gone.
    pub(crate) fn ready(&mut self, poll: &Poll) -> Result<Vec<(Word, Option<OwnedFd>)>, ()> {
        let Some(channel) = &self.channel else { return Ok(Vec::new()) };
        let mut words = Vec::new();
        loop {
            match channel.receive() {
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(words),
                Ok((packet, fd)) if !packet.is_empty() => {
                    if let Ok(word) = Word::parse_from_bytes(&packet) {
                        words.push((word, fd));
                    }
                }
                // What it said before its end counts; the next look finds the end again.
                _ if !words.is_empty() => return Ok(words),
                _ => {
                    self.lose(poll);
                    return Err(());
                }
            }
        }
    }

    fn lose(&mut self, poll: &Poll) {
        if let Some(channel) = self.channel.take() {
            poll.forget(&channel);
        }
    }

    fn say(&mut self, word: &Word, beside: Option<BorrowedFd<'_>>) {
        let Some(channel) = &self.channel else { return };
        let said = word.write_to_bytes().ok().and_then(|packet| channel.send(&packet, beside).ok());
        if said.is_none() {
            // Closed, it is found to be gone by the loop too: nothing is told by halves.
            nix::sys::socket::shutdown(
                std::os::fd::AsRawFd::as_raw_fd(&channel.as_fd()),
                nix::sys::socket::Shutdown::Both,
            )
            .ok();
        }
    }
}

/// A word about a kind of descriptor.
pub(crate) fn word(verb: Verb, kind: Kind, number: u32) -> Word {
    Word { verb: verb.into(), kind: kind.into(), number, ..Word::default() }
}
