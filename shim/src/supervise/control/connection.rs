//! One connection: bytes in, frames and descriptors out of them, answers back without ever waiting.
//!
//! Owns: the socket and its two buffers, both bounded. Never: knows what a call does.

use std::{collections::VecDeque, os::fd::OwnedFd, os::unix::net::UnixStream};

use nix::errno::Errno;
use ttrpc::{
    Code, MessageHeader, Response, get_status,
    proto::{Codec, MESSAGE_HEADER_LENGTH, MESSAGE_TYPE_REQUEST, MESSAGE_TYPE_RESPONSE},
};

use super::calls::{Call, Decoded, Table};
use crate::{
    fault::Fault,
    limits::{CONTROL_READ, DESCRIPTORS_WAITING_MAX, FRAME_MAX, OUTBOX_MAX, WATCHES_MAX},
    supervise::poll::{Poll, Source},
    sys::socket,
};

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    /// Bytes that are no whole frame yet.
    inbox: Vec<u8>,
    /// Answers that the peer has not read yet.
    outbox: VecDeque<u8>,
    /// Descriptors whose message has not come yet, in the order of their arrival.
    descriptors: VecDeque<OwnedFd>,
    /// Watches that wait: stream, and the sequence number already seen.
    watches: Vec<(u32, u64)>,
    /// Whether epoll was asked to tell of room.
    is_waiting_for_room: bool,
    /// Hello was said.
    pub(crate) is_greeted: bool,
}

/// Whether a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It does.
    Open,
    /// Its peer is gone, or does not keep to the wire.
    Closed,
}

impl Connection {
    /// A connection that nothing was said on.
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            inbox: Vec::new(),
            outbox: VecDeque::new(),
            descriptors: VecDeque::new(),
            watches: Vec::new(),
            is_waiting_for_room: false,
            is_greeted: false,
        }
    }

    /// Sends what waits, then reads once; returns the calls that are whole now.
    pub(crate) fn ready(&mut self, table: &Table, scratch: &mut [u8]) -> (Vec<(u32, Call)>, Flow) {
        if self.send() == Flow::Closed {
            return (Vec::new(), Flow::Closed);
        }
        let read = &mut scratch[..CONTROL_READ];
        let received = match socket::receive(&self.stream, read) {
            Ok(received) if received.bytes > 0 => received,
            Err(Errno::EAGAIN | Errno::EINTR) => return (Vec::new(), Flow::Open),
            _ => return (Vec::new(), Flow::Closed),
        };
        self.descriptors.extend(received.descriptors);
        if self.descriptors.len() > DESCRIPTORS_WAITING_MAX {
            return (Vec::new(), Flow::Closed);
        }
        self.inbox.extend_from_slice(&read[..received.bytes]);
        let mut calls = Vec::new();
        let flow = self.take_frames(table, &mut calls);
        (calls, flow)
    }

    /// Sends an answer, now or when there is room.
    pub(crate) fn answer(&mut self, stream: u32, code: Code, text: &str, payload: Vec<u8>) -> Flow {
        let mut response = Response::new();
        response.status = Some(get_status(code, text)).into();
        response.payload = payload;
        let Ok(body) = response.encode() else { return Flow::Closed };
        let Ok(length) = u32::try_from(body.len()) else { return Flow::Closed };
        let header = MessageHeader { length, stream_id: stream, type_: MESSAGE_TYPE_RESPONSE, flags: 0 };
        if self.outbox.len() + MESSAGE_HEADER_LENGTH + body.len() > OUTBOX_MAX {
            return Flow::Closed;
        }
        self.outbox.extend(Vec::from(header));
        self.outbox.extend(body);
        self.send()
    }

    /// Remembers a watch. `false`: too many.
    pub(crate) fn park(&mut self, stream: u32, after: u64) -> bool {
        if self.watches.len() >= WATCHES_MAX {
            return false;
        }
        self.watches.push((stream, after));
        true
    }

    /// The watches that this sequence number answers.
    pub(crate) fn unpark(&mut self, sequence: u64) -> Vec<u32> {
        let (due, waiting) = self.watches.iter().partition(|(_, after)| sequence > *after);
        self.watches = waiting;
        let due: Vec<(u32, u64)> = due;
        due.into_iter().map(|(stream, _)| stream).collect()
    }

    /// Asks to be told of room where, and only where, something waits.
    pub(crate) fn watch(&mut self, poll: &Poll, source: Source) -> Result<(), Fault> {
        let waits = !self.outbox.is_empty();
        if waits != self.is_waiting_for_room {
            poll.converse(&self.stream, source, waits)?;
            self.is_waiting_for_room = waits;
        }
        Ok(())
    }

    /// Whether nobody is at the other end any more.
    pub(crate) fn has_hung_up(&self) -> bool {
        socket::has_hung_up(&self.stream)
    }

    /// Leaves the epoll set.
    pub(crate) fn forget(&self, poll: &Poll) {
        poll.forget(&self.stream);
    }

    fn send(&mut self) -> Flow {
        while !self.outbox.is_empty() {
            let (front, _) = self.outbox.as_slices();
            match socket::send_some(&self.stream, front) {
                Ok(count) => drop(self.outbox.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Flow::Open,
                Err(_) => return Flow::Closed,
            }
        }
        // An idle connection keeps no memory.
        self.outbox = VecDeque::new();
        Flow::Open
    }

    fn take_frames(&mut self, table: &Table, calls: &mut Vec<(u32, Call)>) -> Flow {
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut at = 0;
        while let Some(head) = inbox[at..].first_chunk::<MESSAGE_HEADER_LENGTH>() {
            let header = MessageHeader::from(head);
            let Ok(length) = usize::try_from(header.length) else { return Flow::Closed };
            if length > FRAME_MAX - MESSAGE_HEADER_LENGTH || header.type_ != MESSAGE_TYPE_REQUEST {
                return Flow::Closed;
            }
            let begin = at + MESSAGE_HEADER_LENGTH;
            let Some(body) = inbox.get(begin..begin + length) else { break };
            let flow = match table.decode(header, body, &mut self.descriptors) {
                Decoded::Call(call) => {
                    calls.push((header.stream_id, call));
                    Flow::Open
                }
                Decoded::Refused(code, text) => self.answer(header.stream_id, code, &text, Vec::new()),
                Decoded::Broken => Flow::Closed,
            };
            if flow == Flow::Closed {
                return flow;
            }
            at = begin + length;
        }
        inbox.drain(..at);
        inbox.shrink_to_fit();
        self.inbox = inbox;
        Flow::Open
    }
}
