//! What is shown to the keeper, and when it is let go of.
//!
//! Owns: the list of what a successor needs. Never: uses any of it.

use std::os::fd::AsFd;

use protocol::keeper::Kind;

use super::{launch::StreamKind, machine::State, stage::Console, supervisor::Supervisor};
use crate::sys::pidfd::PidFd;

impl Supervisor {
    /// The container's own: the journal, the lock, the socket.
    pub(super) fn hold_container(&mut self) {
        let Some(container) = &self.container else { return };
        self.kept.hold(Kind::LOCK, 0, 0, container.lock());
        if let Some(listener) = self.control.listener() {
            self.kept.hold(Kind::LISTENER, 0, 0, listener);
        }
        // Last: with it there is something to take over.
        self.kept.hold_memory(container.launch.id.as_str(), self.pump.journal().memory());
    }

    /// Its streams and its log, as they are now.
    pub(super) fn hold_streams(&mut self) {
        self.hold_log();
        let is_terminal = self.container.as_ref().is_some_and(|c| c.launch.streams == StreamKind::Terminal);
        let mut ends = self.pump.ends();
        let last = is_terminal.then(|| ends.next().map(|(_, end)| end.as_fd())).flatten();
        // Until create has ended, they are read for the runtime's words.
        let words = self.words.ends().filter(|_| matches!(self.state, State::Born | State::Creating));
        // With a terminal, what is read is the terminal itself.
        for (number, end) in ends.chain(words) {
            self.kept.hold(Kind::OUTPUT, number, 0, end);
        }
        let terminal = self.terminal.as_ref().map(AsFd::as_fd).or(last);
        match (self.stdin.end(), terminal) {
            (_, Some(terminal)) => self.kept.hold(Kind::TERMINAL, 0, 0, terminal),
            (Some(stdin), None) => self.kept.hold(Kind::STDIN, 0, 0, stdin),
            (None, None) => {}
        }
        if let Some(console) = &self.console {
            self.kept.hold(Kind::CONSOLE, 0, 0, console.listener());
        }
        self.has_held_stdin = terminal.is_none() && self.stdin.end().is_some();
        self.has_held_terminal = terminal.is_some();
    }

    /// The log, which may be a new one.
    pub(super) fn hold_log(&mut self) {
        if let Some(log) = self.pump.log() {
            self.kept.hold(Kind::LOG, 0, 0, log);
        }
    }

    /// What this shim has closed, the keeper must not keep open: the container would never see its end.
    pub(super) fn release_streams(&mut self) {
        if self.has_held_stdin && self.stdin.end().is_none() {
            self.has_held_stdin = false;
            self.kept.release(Kind::STDIN, 0);
        }
        // At the end it is still read for what is left in it.
        if self.has_held_terminal && self.terminal.is_none() && self.pump.has_ended() {
            self.has_held_terminal = false;
            self.kept.release(Kind::TERMINAL, 0);
        }
        for (number, end) in self.pump.take_closed() {
            self.poll.forget(&end);
            self.kept.release(Kind::OUTPUT, number);
        }
        self.pump.replace_removed_log();
        self.hold_new_log();
    }

    /// The terminal, as soon as the runtime has delivered it.
    pub(super) fn hold_delivered(&mut self) {
        if let Some(master) = self.console.as_ref().and_then(Console::master) {
            self.kept.hold(Kind::TERMINAL, 0, 0, master);
        }
    }

    /// The log, where it is a new one.
    pub(super) fn hold_new_log(&mut self) {
        if self.pump.has_new_log() {
            self.hold_log();
        }
    }

    /// Everything, to a keeper that knows nothing yet and is not this shim's parent.
    pub(super) fn hand_over(&mut self) {
        let Ok(own) = PidFd::open(i32::try_from(std::process::id()).unwrap_or(0)) else { return };
        self.kept.hold(Kind::SHIM, 0, i32::try_from(std::process::id()).unwrap_or(0), &own);
        if matches!(self.state, State::Born | State::Exited | State::Left) {
            return;
        }
        self.hold_streams();
        self.hold_delivered();
        if let Some((step, running)) = &self.command {
            self.kept.hold(Kind::COMMAND, step.number(), running.pid(), running.process());
        }
        if let Some(init) = &self.init {
            self.kept.hold(Kind::INIT, 0, init.pid, &init.process);
        }
        self.execs.hand_over(&mut self.kept);
        self.hold_container();
    }
}
