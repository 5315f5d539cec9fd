//! From a frame's body to a call, through the generated method table.
//!
//! The table's handlers want an answer at once, while most calls of a shim are answered later. So the service here
//! only takes down what was asked; the answer that the handler makes of it is thrown away.
//!
//! Owns: the decoding. Never: does what a call asks.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError, mpsc},
};

use protobuf::Message;
use protocol::{
    limits::DESCRIPTORS_MAX,
    server::{self, Shim},
    shim::{
        Empty, ExecRequest, ExecResponse, FeedStdinRequest, HelloRequest, HelloResponse, KeepRequest,
        LaunchRequest, LaunchResponse, ResizeRequest, SignalRequest, StartRequest, StartResponse, State,
        WatchRequest,
    },
};
use ttrpc::{Code, ConnectionContext, MessageHeader, MethodHandler, Request, TtrpcContext, proto::Codec};

/// What was asked.
#[derive(Debug)]
pub(crate) enum Call {
    /// Hello.
    Hello(HelloRequest),
    /// Launch.
    Launch(Box<LaunchRequest>),
    /// Start.
    Start,
    /// Watch, with the sequence number already seen.
    Watch(u64),
    /// Exec, with its descriptors.
    Exec(Box<ExecRequest>, Vec<OwnedFd>),
    /// Signal.
    Signal(u32),
    /// Kill.
    Kill,
    /// ReopenLog.
    ReopenLog,
    /// FeedStdin, with its descriptors.
    FeedStdin(Vec<OwnedFd>),
    /// CloseStdin.
    CloseStdin,
    /// Resize: columns, rows.
    Resize(u32, u32),
    /// Dismiss.
    Dismiss,
    /// Keep, with its descriptors.
    Keep(Vec<OwnedFd>),
}

/// What became of a frame.
#[derive(Debug)]
pub(crate) enum Decoded {
    /// A call.
    Call(Call),
    /// A call that cannot be decoded or is unknown; the connection goes on.
    Refused(Code, String),
    /// No request at all, or descriptors that do not fit: what follows cannot be trusted.
    Broken,
}

/// The generated method table.
pub(crate) struct Table {
    methods: HashMap<String, Box<dyn MethodHandler + Send + Sync>>,
    note: Arc<Note>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("methods", &self.methods.len()).finish()
    }
}

impl Table {
    /// The table of the shim's service.
    pub(crate) fn new() -> Self {
        let note = Arc::new(Note::default());
        Self { methods: server::create_shim(note.clone()), note }
    }

    /// Decodes a frame's body, and takes from `waiting` the descriptors that the message says it brings.
    pub(crate) fn decode(
        &self,
        header: MessageHeader,
        body: &[u8],
        waiting: &mut VecDeque<OwnedFd>,
    ) -> Decoded {
        let Ok(request) = Request::decode(body) else { return Decoded::Broken };
        let name = format!("/{}/{}", request.service, request.method);
        let Some(method) = self.methods.get(&name) else {
            let shown: String = name.chars().take(200).collect();
            return Decoded::Refused(Code::UNIMPLEMENTED, format!("{shown} is unknown to this shim"));
        };
        // Kept until the handler is done, or its own answer would be an error.
        let (answers, unread) = mpsc::channel();
        let context = TtrpcContext {
            fd: -1,
            cancel_rx: crossbeam_channel::never(),
            mh: header,
            res_tx: answers,
            metadata: HashMap::new(),
            timeout_nano: 0,
            conn_ctx: Arc::new(ConnectionContext::default()),
        };
        let handled = method.handler(context, request);
        drop(unread);
        let call = self.note.take();
        match (handled, call) {
            (Ok(()), Some(call)) => with_descriptors(call, waiting),
            (Err(error), _) => Decoded::Refused(Code::INVALID_ARGUMENT, format!("{name}: {error}")),
            (Ok(()), None) => {
                Decoded::Refused(Code::UNIMPLEMENTED, format!("{name} is unknown to this shim"))
            }
        }
    }
}

fn with_descriptors(call: Call, waiting: &mut VecDeque<OwnedFd>) -> Decoded {
    let mut take = |count: u32| -> Option<Vec<OwnedFd>> {
        let count = usize::try_from(count).ok()?;
        let fits = count <= DESCRIPTORS_MAX && count <= waiting.len();
        fits.then(|| waiting.drain(..count).collect())
    };
    match call {
        Call::Exec(request, _) => match take(request.descriptors) {
            Some(descriptors) => Decoded::Call(Call::Exec(request, descriptors)),
            None => Decoded::Broken,
        },
        Call::FeedStdin(_) => match take(1) {
            Some(descriptors) => Decoded::Call(Call::FeedStdin(descriptors)),
            None => Decoded::Broken,
        },
        Call::Keep(_) => match take(1) {
            Some(descriptors) => Decoded::Call(Call::Keep(descriptors)),
            None => Decoded::Broken,
        },
        other => Decoded::Call(other),
    }
}

/// Where the service takes down what was asked. The mutex is there because the generated trait wants `Sync`; one
/// thread uses it.
#[derive(Debug, Default)]
struct Note(Mutex<Option<Call>>);

impl Note {
    fn put<A: Message + Default>(&self, call: Call) -> ttrpc::Result<A> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(call);
        Ok(A::default())
    }

    fn take(&self) -> Option<Call> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Shim for Note {
    fn hello(&self, _: &TtrpcContext, request: HelloRequest) -> ttrpc::Result<HelloResponse> {
        self.put(Call::Hello(request))
    }

    fn launch(&self, _: &TtrpcContext, request: LaunchRequest) -> ttrpc::Result<LaunchResponse> {
        self.put(Call::Launch(Box::new(request)))
    }

    fn start(&self, _: &TtrpcContext, _: StartRequest) -> ttrpc::Result<StartResponse> {
        self.put(Call::Start)
    }

    fn watch(&self, _: &TtrpcContext, request: WatchRequest) -> ttrpc::Result<State> {
        self.put(Call::Watch(request.after))
    }

    fn exec(&self, _: &TtrpcContext, request: ExecRequest) -> ttrpc::Result<ExecResponse> {
        self.put(Call::Exec(Box::new(request), Vec::new()))
    }

    fn signal(&self, _: &TtrpcContext, request: SignalRequest) -> ttrpc::Result<Empty> {
        self.put(Call::Signal(request.signal))
    }

    fn kill(&self, _: &TtrpcContext, _: Empty) -> ttrpc::Result<Empty> {
        self.put(Call::Kill)
    }

    fn reopen_log(&self, _: &TtrpcContext, _: Empty) -> ttrpc::Result<Empty> {
        self.put(Call::ReopenLog)
    }

    fn feed_stdin(&self, _: &TtrpcContext, _: FeedStdinRequest) -> ttrpc::Result<Empty> {
        self.put(Call::FeedStdin(Vec::new()))
    }

    fn close_stdin(&self, _: &TtrpcContext, _: Empty) -> ttrpc::Result<Empty> {
        self.put(Call::CloseStdin)
    }

    fn resize(&self, _: &TtrpcContext, request: ResizeRequest) -> ttrpc::Result<Empty> {
        self.put(Call::Resize(request.columns, request.rows))
    }

    fn dismiss(&self, _: &TtrpcContext, _: Empty) -> ttrpc::Result<Empty> {
        self.put(Call::Dismiss)
    }

    fn keep(&self, _: &TtrpcContext, _: KeepRequest) -> ttrpc::Result<Empty> {
        self.put(Call::Keep(Vec::new()))
    }
}
