//! The conversation with one shim over ttrpc.
//!
//! Owns: the deadlines of calls. Never: reconnects; whoever holds a broken link asks for a new one.

use std::{
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream as StdStream,
    },
    time::{Duration, Instant},
};

use nix::{
    fcntl::{OFlag, open},
    sys::stat::Mode,
};
use protocol::{client::ShimClient, limits::DESCRIPTORS_MAX, rundir::RunDir, shim, version};
use ttrpc::{r#async::transport::Socket, context};

use crate::{
    limits,
    operations::still,
    steps::CanFail,
    sys::fd_socket::{Carrier, FdSocket},
};

/// Why a shim gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkError {
    /// The socket cannot be reached or broke.
    #[error("the shim cannot be reached: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("the shim did not answer {call}: {place}")]
    Silent {
        /// The call.
        call: &'static str,
        /// The step it was in, and after how long.
        place: String,
    },
    /// It answered with an error.
    #[error("the shim refused {call}: {message}")]
    Refused {
        /// The call.
        call: &'static str,
        /// Its words.
        message: String,
    },
    /// It speaks no version that we do.
    #[error("the shim speaks wire version {theirs}, this daemon {lowest} to {highest}")]
    Version {
        /// What it chose.
        theirs: u32,
        /// Our lowest.
        lowest: u32,
        /// Our highest.
        highest: u32,
    },
}

impl<T> CanFail for Result<T, LinkError> {
    fn failed(why: String) -> Self {
        Err(LinkError::Unreachable(why))
    }
}

/// A connection on which Hello has been said.
#[derive(Clone)]
pub struct ShimLink {
    client: ShimClient,
    carrier: Carrier,
    /// The shim's process id and generation, to show.
    pub hello: shim::HelloResponse,
}

impl std::fmt::Debug for ShimLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShimLink").field("shim_pid", &self.hello.shim_pid).finish_non_exhaustive()
    }
}

fn call_error(call: &'static str, (begun, after): (Instant, Duration), error: ttrpc::Error) -> LinkError {
    match error {
        // The client has no code for its own deadline.
        ttrpc::Error::Others(_) if begun.elapsed() >= after => {
            LinkError::Silent { call, place: still(after) }
        }
        ttrpc::Error::RpcStatus(status) if status.code() == ttrpc::Code::DEADLINE_EXCEEDED => {
            LinkError::Silent { call, place: still(after) }
        }
        ttrpc::Error::RpcStatus(status) => LinkError::Refused { call, message: status.message },
        // An exec that was given up takes the connection with it, for those who wait beside it too.
        other => LinkError::Unreachable(format!("{other}; {}", still(begun.elapsed()))),
    }
}

/// One call with its deadline, twice: the client's own, and ours around it for a client that is stuck.
macro_rules! call {
    ($self:ident, $method:ident, $within:expr, $request:expr) => {{
        let within: Duration = $within;
        let name = stringify!($method);
        let begun = Instant::now();
        let request = $request;
        let work = $self.client.$method(context::with_duration(within), &request);
        match tokio::time::timeout(within, work).await {
            Ok(answer) => answer.map_err(|e| call_error(name, (begun, within), e)),
            Err(_) => Err(LinkError::Silent { call: name, place: still(within) }),
        }
    }};
}

impl ShimLink {
    /// Says Hello on a connected socket.
    pub async fn greet(stream: StdStream, within: Duration) -> Result<Self, LinkError> {
        let unreachable = |e: std::io::Error| LinkError::Unreachable(e.to_string());
        let (socket, carrier) = FdSocket::new(stream).map_err(unreachable)?;
        let client = ShimClient::new(ttrpc::r#async::Client::new(Socket::new(socket)));
        let mut link = Self { client, carrier, hello: shim::HelloResponse::new() };
        let mut request = shim::HelloRequest::new();
        (request.lowest, request.highest) = (version::LOWEST, version::HIGHEST);
        request.features = vec![version::FEATURE_DESCRIPTORS.to_owned()];
        let hello = call!(link, hello, within, request)?;
        if !(version::LOWEST..=version::HIGHEST).contains(&hello.version) {
            let (lowest, highest) = (version::LOWEST, version::HIGHEST);
            return Err(LinkError::Version { theirs: hello.version, lowest, highest });
        }
        link.hello = hello;
        Ok(link)
    }

    /// Reaches a shim by the socket in its run directory.
    pub async fn connect(run_dir: &RunDir, within: Duration) -> Result<Self, LinkError> {
        let unreachable = |e: std::io::Error| LinkError::Unreachable(e.to_string());
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = open(run_dir.path(), flags, Mode::empty()).map_err(|e| unreachable(e.into()))?;
        // sun_path holds 108 bytes; through the descriptor the path is always short.
        let path = format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), RunDir::SOCKET);
        let stream = match tokio::time::timeout(within, tokio::net::UnixStream::connect(path)).await {
            Ok(stream) => stream.and_then(tokio::net::UnixStream::into_std).map_err(unreachable)?,
            Err(_) => return Err(LinkError::Silent { call: "connect", place: still(within) }),
        };
        Self::greet(stream, within).await
    }

    /// Becomes the supervisor of a container; the runtime's create runs meanwhile.
    pub async fn launch(&self, request: shim::LaunchRequest) -> Result<shim::LaunchResponse, LinkError> {
        call!(self, launch, limits::RUNTIME_COMMAND + limits::RUNTIME_DELETE + limits::SHIM_ANSWER, request)
    }

    /// The runtime's start.
    pub async fn start(&self) -> Result<shim::StartResponse, LinkError> {
        call!(self, start, limits::RUNTIME_COMMAND + limits::SHIM_ANSWER, shim::StartRequest::new())
    }

    /// The state, at once.
    pub async fn state(&self, within: Duration) -> Result<shim::State, LinkError> {
        call!(self, watch, within, shim::WatchRequest::new())
    }

    /// The next state; parked until there is one. An error means that the connection broke.
    pub async fn next_state(&self, after: u64) -> Result<shim::State, LinkError> {
        let mut request = shim::WatchRequest::new();
        request.after = after;
        let parked = context::with_timeout(0);
        let never = (Instant::now(), Duration::MAX);
        self.client.watch(parked, &request).await.map_err(|e| call_error("watch", never, e))
    }

    /// One signal to init.
    pub async fn signal(&self, signal: u8) -> Result<(), LinkError> {
        let mut request = shim::SignalRequest::new();
        request.signal = signal.into();
        call!(self, signal, limits::SHIM_ANSWER, request).map(drop)
    }

    /// SIGKILL to all of it.
    pub async fn kill(&self, within: Duration) -> Result<(), LinkError> {
        call!(self, kill, within, shim::Empty::new()).map(drop)
    }

    /// A new log file at the same path.
    pub async fn reopen_log(&self) -> Result<(), LinkError> {
        call!(self, reopen_log, limits::SHIM_ANSWER, shim::Empty::new()).map(drop)
    }

    /// Leave.
    pub async fn dismiss(&self) -> Result<(), LinkError> {
        call!(self, dismiss, limits::SHIM_ANSWER, shim::Empty::new()).map(drop)
    }

    /// Hand what must outlive the shim to another keeper, at this end of a packet socket.
    pub async fn keep(&self, theirs: OwnedFd) -> Result<(), LinkError> {
        let (begun, within) = (Instant::now(), limits::SHIM_ANSWER);
        let request = shim::KeepRequest { descriptors: 1, ..shim::KeepRequest::new() };
        let work = self.client.keep(context::with_duration(within), &request);
        match self.carrier.carry(vec![theirs], work).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(call_error("keep", (begun, within), error)),
            Err(error) => Err(LinkError::Unreachable(error.to_string())),
        }
    }

    /// Runs a command; how it ended is written to the third descriptor. Run it in a task that nobody drops:
    /// a half-sent call breaks the connection.
    pub async fn exec(
        &self,
        mut request: shim::ExecRequest,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), LinkError> {
        debug_assert!(descriptors.len() <= DESCRIPTORS_MAX);
        request.descriptors = u32::try_from(descriptors.len()).unwrap_or(u32::MAX);
        let (begun, within) = (Instant::now(), limits::SHIM_ANSWER);
        let work = self.client.exec(context::with_duration(within), &request);
        match self.carrier.carry(descriptors, work).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(call_error("exec", (begun, within), error)),
            Err(error) => Err(LinkError::Unreachable(error.to_string())),
        }
    }
}
