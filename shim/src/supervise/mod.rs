//! The role of supervising one container: the shim proper.
//!
//! Owns: the way from birth to leaving. Never: another container's business; HTTP, JSON, the CRI.

mod adopt;
mod clock;
mod command;
mod container;
mod control;
mod event_loop;
mod execs;
mod facts;
mod kill;
mod launch;
mod ledger;
mod machine;
mod oom;
mod poll;
mod pump;
mod reaper;
mod service;
mod stage;
mod stdin;
mod supervisor;
mod tree;
mod words;

use std::{fs::File, os::unix::net::UnixStream};

use nix::sys::signalfd::{SfdFlags, SignalFd};

use self::{
    control::Control,
    poll::{Poll, Source},
    supervisor::Supervisor,
};
use crate::{
    fault::{Because, Fault},
    sys::birth,
};

/// Supervises the container that the daemon at standard input tells of, to its end.
pub(crate) fn run() -> Result<(), Fault> {
    birth::close_inherited().because(|| "inherited descriptors cannot be closed".into())?;
    let inherited =
        birth::become_supervisor().because(|| "this process cannot become a supervisor".into())?;
    let null = File::options().read(true).write(true).open("/dev/null").because(|| "/dev/null".into())?;
    let parent = birth::take_stdin(&null).because(|| "standard input cannot be taken".into())?;
    let parent = UnixStream::from(parent);
    parent.local_addr().because(|| "standard input is no unix socket".into())?;
    let signals = birth::block_child_signal().because(|| "SIGCHLD cannot be blocked".into())?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let children = SignalFd::with_flags(&signals, flags).because(|| "SIGCHLD cannot be read".into())?;
    let poll = Poll::new()?;
    poll.read(&children, Source::Child)?;
    let control = Control::new(&poll, parent)?;
    let mut shim = Supervisor::new(poll, control, null, inherited)?;
    event_loop::run(&mut shim, &children)
}
