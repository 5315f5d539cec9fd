//! A stream socket under the wire's async client that can carry descriptors beside the bytes.
//!
//! Owns: the pairing of a call with its descriptors on the sending side, and the `sendmsg` that carries them.
//! Never: reads a frame, knows a method, receives descriptors (the shim sends none).
//!
//! Use: `let (socket, carrier) = FdSocket::new(stream)?`, hand `Socket::new(socket)` to the client, and make each call
//! that brings descriptors through [`Carrier::carry`].

use std::{
    collections::VecDeque,
    future::Future,
    io::{self, IoSlice},
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::net::UnixStream as StdStream,
    },
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use protocol::limits::DESCRIPTORS_MAX;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::UnixStream,
};

/// A connected unix stream socket that sends waiting descriptors with the next byte it writes.
#[derive(Debug)]
pub struct FdSocket {
    stream: UnixStream,
    outbox: Arc<Mutex<Outbox>>,
}

/// The door through which descriptors reach an [`FdSocket`] that is already inside a client.
#[derive(Debug, Clone)]
pub struct Carrier {
    outbox: Arc<Mutex<Outbox>>,
    /// Held from the moment a call's descriptors are queued until its answer: descriptors are not framed, so two
    /// such calls must not be between queue and wire at once, or each would get the other's.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// The same socket, to end it when nobody knows any more whose descriptors are next.
    same: Arc<StdStream>,
}

/// Guarded by a plain mutex that is never held over a wait.
#[derive(Debug, Default)]
struct Outbox {
    waiting: VecDeque<OwnedFd>,
    broken: bool,
}

/// Why a call with descriptors was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CarryError {
    /// More descriptors than a message may bring.
    #[error("a message may bring at most {DESCRIPTORS_MAX} descriptors, not {0}: pass fewer")]
    TooMany(usize),
    /// An earlier call was given up halfway; nobody knows whose descriptors are next on this connection.
    #[error("a call with descriptors was given up halfway: make a new connection to the shim")]
    Broken,
}

impl FdSocket {
    /// Wraps a connected socket and makes it nonblocking. Must be called inside the executor.
    pub fn new(stream: StdStream) -> io::Result<(Self, Carrier)> {
        stream.set_nonblocking(true)?;
        let outbox = Arc::new(Mutex::new(Outbox::default()));
        let same = Arc::new(stream.try_clone()?);
        let carrier = Carrier { outbox: outbox.clone(), turn: Arc::default(), same };
        Ok((Self { stream: UnixStream::from_std(stream)?, outbox }, carrier))
    }

    /// One `sendmsg` of bytes and of all descriptors that wait.
    fn send(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut outbox = lock(&self.outbox);
        if outbox.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let waiting: Vec<RawFd> = outbox.waiting.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&waiting)];
        let beside: &[ControlMessage<'_>] = if waiting.is_empty() { &[] } else { &rights };
        let sent = sendmsg::<()>(self.stream.as_raw_fd(), bytes, beside, MsgFlags::MSG_NOSIGNAL, None)?;
        // The kernel has its own references now; ours are closed here.
        outbox.waiting.clear();
        Ok(sent)
    }

    fn poll_send(&self, cx: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        // No byte, no message that descriptors could ride on.
        if bytes.iter().all(|part| part.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        loop {
            std::task::ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_io(Interest::WRITABLE, || self.send(bytes)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl AsyncRead for FdSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for FdSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Carrier {
    /// Makes a call that brings descriptors: queues them, then runs the call to its answer, one such call at a
    /// time. Only for calls that are answered at once (Exec, FeedStdin), never for a parked one.
    ///
    /// A future that is dropped halfway breaks the connection on purpose, because the descriptors may be sent and
    /// their message may not; so does a call that runs out of its own deadline. Run it in a task that nobody drops.
    pub async fn carry<T>(
        &self,
        descriptors: Vec<OwnedFd>,
        call: impl Future<Output = ttrpc::Result<T>>,
    ) -> Result<ttrpc::Result<T>, CarryError> {
        if descriptors.len() > DESCRIPTORS_MAX {
            return Err(CarryError::TooMany(descriptors.len()));
        }
        let _turn = self.turn.lock().await;
        {
            let mut outbox = lock(&self.outbox);
            if outbox.broken {
                return Err(CarryError::Broken);
            }
            outbox.waiting.extend(descriptors);
        }
        let halfway = Halfway { outbox: &self.outbox, same: &self.same, done: false };
        let answer = call.await;
        if is_answer(&answer) {
            halfway.done();
        }
        Ok(answer)
    }
}

/// Whether the shim itself said this, so that it must have read the message.
fn is_answer<T>(answer: &ttrpc::Result<T>) -> bool {
    match answer {
        Ok(_) => true,
        // The client's own deadline; the shim never answers with this code.
        Err(ttrpc::Error::RpcStatus(status)) => status.code() != ttrpc::Code::DEADLINE_EXCEEDED,
        Err(_) => false,
    }
}

/// Breaks the connection unless the call came to its end.
struct Halfway<'a> {
    outbox: &'a Mutex<Outbox>,
    same: &'a StdStream,
    done: bool,
}

impl Halfway<'_> {
    /// The call was answered. Descriptors that still wait would mean that it was somebody else's answer.
    fn done(mut self) {
        self.done = lock(self.outbox).waiting.is_empty();
    }
}

impl Drop for Halfway<'_> {
    fn drop(&mut self) {
        if !self.done {
            let mut outbox = lock(self.outbox);
            outbox.broken = true;
            outbox.waiting.clear();
            // Everyone on this connection hears of its end, and whoever follows the shim makes another one. An error
            // means that it has ended already.
            self.same.shutdown(std::net::Shutdown::Both).ok();
        }
    }
}

fn lock(outbox: &Mutex<Outbox>) -> MutexGuard<'_, Outbox> {
    // Nothing that can panic runs under it, and both fields are true after any step.
    outbox.lock().unwrap_or_else(PoisonError::into_inner)
}
