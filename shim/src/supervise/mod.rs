//! The role of supervising one container: the shim proper.
//!
//! Owns: the way from birth to leaving. Never: another container's business; HTTP, JSON, the CRI.

mod adopt;
mod command;
mod commands;
mod container;
mod control;
mod event_loop;
mod execs;
mod facts;
mod held;
mod inheritance;
mod journal;
mod kept;
mod kill;
mod launch;
mod ledger;
mod machine;
mod memo;
mod oom;
mod poll;
mod pump;
mod reaper;
mod replay;
mod service;
mod stage;
mod stdin;
mod supervisor;
mod takeover;
mod tree;
mod wards;
mod words;

use std::{fs::File, os::fd::OwnedFd, os::unix::net::UnixStream};

use nix::sys::signalfd::{SfdFlags, SignalFd};

use self::{
    control::Control,
    inheritance::Inheritance,
    journal::Journal,
    kept::Kept,
    poll::{Poll, Source},
    supervisor::Supervisor,
};
use crate::{
    fault::{Because, Fault},
    sys::{
        birth::{self, Inherited},
        clock,
        packet::Packets,
    },
};

/// Supervises the container that the daemon at standard input tells of, to its end. Nobody takes its place.
pub(crate) fn run() -> Result<(), Fault> {
    let birth = Birth::now()?;
    let connection = UnixStream::from(birth.stdin);
    connection.local_addr().because(|| "standard input is no unix socket".into())?;
    let control = Control::new(&birth.poll, connection)?;
    let journal = Journal::new()?;
    let own = (birth.null, birth.inherited);
    let mut shim = Supervisor::new(birth.poll, control, own, Kept::default(), journal)?;
    event_loop::run(&mut shim, &birth.children)
}

/// Supervises a container with a keeper at standard input: the one that the daemon tells of by the connection that the
/// keeper gives, or the one of a killed shim.
pub(crate) fn run_kept() -> Result<(), Fault> {
    let birth = Birth::now()?;
    let channel = Packets::from(birth.stdin).because(|| "standard input is no packet socket".into())?;
    let own = (birth.null, birth.inherited);
    let mut shim = match Inheritance::receive(&channel)? {
        Inheritance::Connection(connection) => {
            let control = Control::new(&birth.poll, connection)?;
            Supervisor::new(birth.poll, control, own, Kept::by(channel), Journal::new()?)?
        }
        Inheritance::Estate(estate) => Supervisor::take_over(birth.poll, own, Kept::by(channel), *estate)?,
    };
    event_loop::run(&mut shim, &birth.children)
}

/// What every shim begins with.
struct Birth {
    stdin: OwnedFd,
    null: File,
    inherited: Inherited,
    poll: Poll,
    children: SignalFd,
}

impl Birth {
    fn now() -> Result<Self, Fault> {
        birth::close_inherited().because(|| "inherited descriptors cannot be closed".into())?;
        let inherited =
            birth::become_supervisor().because(|| "this process cannot become a supervisor".into())?;
        let null = File::options().read(true).write(true).open("/dev/null").because(|| "/dev/null".into())?;
        let stdin = birth::take_stdin(&null).because(|| "standard input cannot be taken".into())?;
        let signals = birth::block_child_signal().because(|| "SIGCHLD cannot be blocked".into())?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let children = SignalFd::with_flags(&signals, flags).because(|| "SIGCHLD cannot be read".into())?;
        let poll = Poll::new()?;
        poll.read(&children, Source::Child)?;
        Ok(Self { stdin, null, inherited, poll, children })
    }
}
