//! The ends of a container's streams, made before create: what the runtime gets, and what the shim keeps.
//!
//! Owns: pipes, and the console socket on which a runtime delivers a terminal. Never: reads output.

use std::{
    fs::File,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
};

use nix::{fcntl::OFlag, unistd::pipe2};
use protocol::rundir::RunDir;

use super::{
    launch::StreamKind,
    poll::{Poll, Source},
    stdin::set_nonblocking,
};
use crate::{
    fault::{Because, Fault},
    steps,
    sys::{socket, terminal},
};

/// Both sides of a container's streams.
#[derive(Debug)]
pub(crate) struct Stage {
    /// What the runtime's create gets as stdin, stdout and stderr.
    pub(crate) given: [OwnedFd; 3],
    /// What is read of them, nonblocking. With a terminal: only the runtime's own words.
    pub(crate) outputs: [Option<File>; 2],
    /// What is written to stdin, nonblocking.
    pub(crate) stdin: Option<OwnedFd>,
    /// Where the terminal will come from.
    pub(crate) console: Option<Console>,
}

impl Stage {
    /// Makes what this kind of container needs.
    pub(crate) fn set(kind: StreamKind, run_dir: &RunDir, null: &File) -> Result<Self, Fault> {
        steps::check("supervise.stage")?;
        let nothing = || null.as_fd().try_clone_to_owned().because(|| "no descriptor is left".into());
        let (out, out_given) = output()?;
        match kind {
            StreamKind::Terminal => {
                let console = Console::listen(run_dir)?;
                let err_given = out_given.try_clone().because(|| "no descriptor is left".into())?;
                let given = [nothing()?, out_given, err_given];
                Ok(Self { given, outputs: [Some(out), None], stdin: None, console: Some(console) })
            }
            StreamKind::Pipes | StreamKind::PipesAndStdin => {
                let (err, err_given) = output()?;
                let (stdin, stdin_given) = match kind {
                    StreamKind::PipesAndStdin => {
                        let (given, kept) = pipe()?;
                        set_nonblocking(&kept)?;
                        (Some(kept), given)
                    }
                    StreamKind::Pipes | StreamKind::Terminal => (None, nothing()?),
                };
                let given = [stdin_given, out_given, err_given];
                Ok(Self { given, outputs: [Some(out), Some(err)], stdin, console: None })
            }
        }
    }
}

/// The streams of a command that only speaks: nothing in, all words into one pipe. Its reading end comes first.
pub(crate) fn speaking(null: &File) -> Result<(File, [OwnedFd; 3]), Fault> {
    let failed = || "no descriptor is left".to_owned();
    let (out, given) = output()?;
    let again = given.try_clone().because(failed)?;
    Ok((out, [null.as_fd().try_clone_to_owned().because(failed)?, given, again]))
}

/// Borrows all three.
pub(crate) fn borrow(streams: &[OwnedFd; 3]) -> [BorrowedFd<'_>; 3] {
    streams.each_ref().map(AsFd::as_fd)
}

fn output() -> Result<(File, OwnedFd), Fault> {
    let (read, write) = pipe()?;
    set_nonblocking(&read)?;
    Ok((read.into(), write))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Fault> {
    pipe2(OFlag::O_CLOEXEC).because(|| "no pipe can be made".into())
}

/// The socket on which the runtime delivers the master side of the container's terminal.
#[derive(Debug)]
pub(crate) struct Console {
    listener: UnixListener,
    connection: Option<UnixStream>,
    master: Option<OwnedFd>,
}

impl Console {
    fn listen(run_dir: &RunDir) -> Result<Self, Fault> {
        let listener = socket::bind_in(run_dir.path(), RunDir::CONSOLE_SOCKET).because(|| {
            format!("the console socket {} cannot be made", run_dir.console_socket().display())
        })?;
        Ok(Self { listener, connection: None, master: None })
    }

    /// One that a killed shim had made.
    pub(crate) fn take_over(listener: OwnedFd, master: Option<OwnedFd>) -> Self {
        Self { listener: listener.into(), connection: None, master }
    }

    /// The terminal, where it has come.
    pub(crate) fn master(&self) -> Option<&OwnedFd> {
        self.master.as_ref()
    }

    /// Where the runtime connects.
    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Watches for the runtime.
    pub(crate) fn watch(&self, poll: &Poll) -> Result<(), Fault> {
        poll.read(&self.listener, Source::Console)
    }

    /// The runtime connects or sends. The first terminal's master that comes is taken, all else is closed.
    pub(crate) fn ready(&mut self, poll: &Poll) {
        if let Ok((connection, _)) = self.listener.accept()
            && self.connection.is_none()
            && poll.read(&connection, Source::Console).is_ok()
        {
            self.connection = Some(connection);
        }
        let Some(connection) = &self.connection else { return };
        // What is sent beside it is the terminal's name.
        let mut name = [0; 256];
        match socket::receive(connection, &mut name) {
            Ok(received) => {
                let is_over = received.bytes == 0;
                let master = received.descriptors.into_iter().find(|fd| terminal::is_master(fd));
                self.master = self.master.take().or(master);
                if is_over || self.master.is_some() {
                    self.connection = None;
                }
            }
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
            Err(_) => self.connection = None,
        }
    }

    /// The terminal's master, nonblocking, after create has succeeded.
    pub(crate) fn take(mut self, poll: &Poll) -> Result<OwnedFd, Fault> {
        // It may have come together with the runtime's end.
        self.ready(poll);
        // The keeper has the listener open too: its closing would not end the watch.
        poll.forget(&self.listener);
        let master = self.master.ok_or_else(|| Fault::new("the runtime delivered no terminal"))?;
        set_nonblocking(&master)?;
        Ok(master)
    }
}
