//! The control socket: connections, frames, answers. It drives the generated method table from the shim's own loop.
//!
//! Owns: the listener and all connections. Never: decides what a call does; waits for a reader.

mod calls;
mod connection;

use std::{
    collections::BTreeMap,
    io,
    os::unix::net::{UnixListener, UnixStream},
    time::Instant,
};

use protobuf::Message;
use protocol::{rundir::RunDir, shim::State};
use ttrpc::Code;

pub(crate) use self::calls::Call;
use self::{
    calls::Table,
    connection::{Connection, Flow},
};
use super::poll::{Poll, Source};
use crate::{
    fault::{Because, Fault},
    limits::{ACCEPT_PAUSE, CONNECTIONS_MAX},
    steps,
    sys::socket,
};

/// All connections and where new ones come from.
#[derive(Debug)]
pub(crate) struct Control {
    listener: Option<UnixListener>,
    connections: BTreeMap<u32, Connection>,
    next: u32,
    table: Table,
    /// The connection that the shim was born with.
    parent: Option<u32>,
    /// No descriptor was left for the last one who connected.
    accept_again: Option<Instant>,
}

/// Whom to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    connection: u32,
    stream: u32,
}

/// A call that is not done.
#[derive(Debug)]
pub(crate) struct Refusal {
    code: Code,
    text: String,
}

impl Refusal {
    /// Not in this state.
    pub(crate) fn not_now(text: impl Into<String>) -> Self {
        Self { code: Code::FAILED_PRECONDITION, text: text.into() }
    }

    /// Not with these values.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self { code: Code::INVALID_ARGUMENT, text: text.into() }
    }

    /// A bound is reached.
    pub(crate) fn exhausted(text: impl Into<String>) -> Self {
        Self { code: Code::RESOURCE_EXHAUSTED, text: text.into() }
    }

    /// Whoever asked for it is dead, or has given it up; mostly nobody hears this.
    pub(crate) fn gone() -> Self {
        Self::not_now("launch: the caller is gone, or has recorded the container's end")
    }

    /// It was tried and failed.
    pub(crate) fn failed(fault: &Fault) -> Self {
        Self { code: Code::INTERNAL, text: fault.to_string() }
    }
}

impl Control {
    /// Begins with the connection that the shim was born with.
    pub(crate) fn new(poll: &Poll, parent: UnixStream) -> Result<Self, Fault> {
        let mut control = Self {
            listener: None,
            connections: BTreeMap::new(),
            next: 0,
            table: Table::new(),
            parent: Some(0),
            accept_again: None,
        };
        control.add(poll, parent)?;
        Ok(control)
    }

    /// Takes connections at the run directory's socket too.
    pub(crate) fn listen(&mut self, poll: &Poll, run_dir: &RunDir) -> Result<(), Fault> {
        steps::check("supervise.listen")?;
        let listener = socket::bind_in(run_dir.path(), RunDir::SOCKET)
            .because(|| format!("the control socket {} cannot be made", run_dir.socket().display()))?;
        poll.read(&listener, Source::Listener)?;
        self.listener = Some(listener);
        Ok(())
    }

    /// Where connections are taken.
    pub(crate) fn listener(&self) -> Option<&UnixListener> {
        self.listener.as_ref()
    }

    /// Goes on at the socket of a killed shim: who connected meanwhile waits there. `None`: it is made anew.
    pub(crate) fn take_over(
        poll: &Poll,
        listener: Option<std::os::fd::OwnedFd>,
        run_dir: &RunDir,
    ) -> Result<Self, Fault> {
        let mut control = Self {
            listener: None,
            connections: BTreeMap::new(),
            next: 0,
            table: Table::new(),
            parent: None,
            accept_again: None,
        };
        match listener {
            Some(listener) => {
                let listener = UnixListener::from(listener);
                poll.read(&listener, Source::Listener)?;
                control.listener = Some(listener);
            }
            None => control.listen(poll, run_dir)?,
        }
        Ok(control)
    }

    /// Somebody connects.
    pub(crate) fn accept(&mut self, poll: &Poll) {
        let Some(listener) = &self.listener else { return };
        // One at a time: the loop comes back for the next.
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if is_passing(&error) => return,
            // No descriptor is left: it would be ready without end.
            Err(_) => {
                poll.forget(listener);
                self.accept_again = Some(Instant::now() + ACCEPT_PAUSE);
                return;
            }
        };
        if self.connections.len() < CONNECTIONS_MAX && socket::is_trusted(&stream) {
            // Dropping it is the answer where it cannot be watched.
            drop(self.add(poll, stream));
        }
    }

    /// When connections are accepted again, where none could be.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.accept_again
    }

    /// Accepts again, where that is due.
    pub(crate) fn on_time(&mut self, poll: &Poll, now: Instant) {
        if self.accept_again.take_if(|at| *at <= now).is_some()
            && let Some(listener) = &self.listener
            && poll.read(listener, Source::Listener).is_err()
        {
            self.accept_again = Some(now + ACCEPT_PAUSE);
        }
    }

    /// A connection has bytes, or room. Returns the calls that came, in order.
    pub(crate) fn ready(&mut self, poll: &Poll, number: u32, scratch: &mut [u8]) -> Vec<(Ticket, Call)> {
        let Some(connection) = self.connections.get_mut(&number) else { return Vec::new() };
        let (calls, flow) = connection.ready(&self.table, scratch);
        self.settle(poll, number, flow);
        calls.into_iter().map(|(stream, call)| (Ticket { connection: number, stream }, call)).collect()
    }

    /// Answers a call. Nobody is there any more: as good.
    pub(crate) fn answer(&mut self, poll: &Poll, ticket: Ticket, answer: Result<&dyn Encode, Refusal>) {
        let Some(connection) = self.connections.get_mut(&ticket.connection) else { return };
        let response = match answer {
            Ok(message) => message.encode().map_err(|text| Refusal { code: Code::INTERNAL, text }),
            Err(refusal) => Err(refusal),
        };
        let flow = match response {
            Ok(payload) => connection.answer(ticket.stream, Code::OK, "", payload),
            Err(refusal) => connection.answer(ticket.stream, refusal.code, &refusal.text, Vec::new()),
        };
        self.settle(poll, ticket.connection, flow);
    }

    /// A watch is answered when the state is newer than what its caller has seen.
    pub(crate) fn park(&mut self, ticket: Ticket, after: u64) -> bool {
        self.connections.get_mut(&ticket.connection).is_none_or(|c| c.park(ticket.stream, after))
    }

    /// Answers the watches that wait for this state.
    pub(crate) fn publish(&mut self, poll: &Poll, state: &State) {
        let waiting: Vec<Ticket> = self
            .connections
            .iter_mut()
            .flat_map(|(&connection, c)| {
                c.unpark(state.sequence).into_iter().map(move |stream| Ticket { connection, stream })
            })
            .collect();
        for ticket in waiting {
            self.answer(poll, ticket, Ok(state));
        }
    }

    /// The caller has said Hello.
    pub(crate) fn greet(&mut self, ticket: Ticket) {
        if let Some(connection) = self.connections.get_mut(&ticket.connection) {
            connection.is_greeted = true;
        }
    }

    /// Whether the caller has said Hello.
    pub(crate) fn is_greeted(&self, ticket: Ticket) -> bool {
        self.connections.get(&ticket.connection).is_some_and(|c| c.is_greeted)
    }

    /// Whether the caller is gone, though what it asked is heard only now.
    pub(crate) fn has_hung_up(&self, ticket: Ticket) -> bool {
        self.connections.get(&ticket.connection).is_none_or(Connection::has_hung_up)
    }

    /// The connection that the shim was born with is gone. Told once.
    pub(crate) fn lost_parent(&mut self) -> bool {
        let lost = self.parent.is_some_and(|parent| !self.connections.contains_key(&parent));
        if lost {
            self.parent = None;
        }
        lost
    }

    fn add(&mut self, poll: &Poll, stream: UnixStream) -> Result<(), Fault> {
        let number = self.next;
        poll.read(&stream, Source::Connection(number))?;
        self.next += 1;
        self.connections.insert(number, Connection::new(stream));
        Ok(())
    }

    fn settle(&mut self, poll: &Poll, number: u32, flow: Flow) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let is_open = match flow {
            Flow::Closed => false,
            Flow::Open => connection.watch(poll, Source::Connection(number)).is_ok(),
        };
        if !is_open {
            self.close(poll, number);
        }
    }

    fn close(&mut self, poll: &Poll, number: u32) {
        if let Some(connection) = self.connections.remove(&number) {
            connection.forget(poll);
        }
    }
}

/// Whether nobody waits any more; else no descriptor is left.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | Interrupted | WouldBlock)
}

/// A message without its type.
pub(crate) trait Encode {
    /// Its bytes.
    fn encode(&self) -> Result<Vec<u8>, String>;
}

impl<M: Message> Encode for M {
    fn encode(&self) -> Result<Vec<u8>, String> {
        self.write_to_bytes().map_err(|error| error.to_string())
    }
}
