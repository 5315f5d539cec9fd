//! Messages to the kernel about links, addresses, routes and flows (netlink(7)): built, sent, and their answers read.
//!
//! Owns: the form of a message. Never: decides what to make.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use nix::sys::{
    socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, sockopt},
    statfs::{FsType, fstatfs},
    time::TimeVal,
};

use super::netns;

/// Largest answer read at once, in bytes: the kernel fills at most this for one read of a dump.
const ANSWER_MAX: usize = 32 << 10;

/// How long the kernel may take for an answer, in seconds. It answers within the call that asks; this only keeps a
/// mistake of ours from hanging.
const ANSWER_SECONDS: i64 = 10;

/// Magic number of the file system of namespaces (linux/magic.h, NSFS_MAGIC).
const NSFS: i64 = 0x6e73_6673;

/// Length of a message's header (`struct nlmsghdr`), and of the code that begins an answer.
const HEADER: usize = 16;
const CODE: usize = 4;

/// A question that must be acknowledged (NLM_F_REQUEST, NLM_F_ACK).
const REQUEST: u16 = 0x1 | 0x4;
/// Message kinds of answers.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Flags of a question.
pub mod flags {
    /// Fail where it is there (NLM_F_EXCL).
    pub const EXCLUSIVE: u16 = 0x200;
    /// Put it in the place of what is there (NLM_F_REPLACE).
    pub const REPLACE: u16 = 0x100;
    /// Make it (NLM_F_CREATE).
    pub const CREATE: u16 = 0x400;
    /// All there are (NLM_F_DUMP).
    pub const DUMP: u16 = 0x300;
}

/// A question as it is built.
#[derive(Debug, Clone)]
pub struct Message {
    bytes: Vec<u8>,
    dump: bool,
}

impl Message {
    /// `kind` is one of RTM_*; `body` the fixed part behind the header.
    pub fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        let dump = flags & flags::DUMP == flags::DUMP;
        // The end of a dump acknowledges it.
        let asked = if dump { 0x1 | flags } else { REQUEST | flags };
        bytes[6..8].copy_from_slice(&asked.to_ne_bytes());
        bytes.extend_from_slice(body);
        Self { bytes, dump }
    }

    /// Adds an attribute.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// A name with its zero.
    pub fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// Adds an attribute that holds attributes, and possibly a fixed part before them.
    pub fn nested(mut self, kind: u16, body: &[u8], inner: impl FnOnce(Self) -> Self) -> Self {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(body);
        let mut filled = inner(self);
        let length = u16::try_from(filled.bytes.len() - at).unwrap_or(u16::MAX);
        filled.bytes[at..at + 2].copy_from_slice(&length.to_ne_bytes());
        filled
    }

    /// Attributes begin at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A socket to the kernel in one network namespace.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// One in this process's network namespace.
    pub fn open() -> io::Result<Self> {
        Self::speaking(SockProtocol::NetlinkRoute)
    }

    /// One for messages about what the firewall keeps.
    pub fn open_filter() -> io::Result<Self> {
        Self::speaking(SockProtocol::NetlinkNetFilter)
    }

    fn speaking(protocol: SockProtocol) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = nix::sys::socket::socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(ANSWER_SECONDS, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// One in the network namespace of a pin.
    pub fn open_in(pin: &Path) -> io::Result<Self> {
        netns::inside(pin, Self::open)?
    }

    /// Index of a link in this socket's network namespace. Takes no lock that links are made and removed under.
    pub fn index_of(&self, name: &str) -> io::Result<u32> {
        rustix::net::netdevice::name_to_index(&self.socket, name).map_err(io::Error::from)
    }

    /// Sends a question and waits for its end. Returns the bodies of what the kernel sent, each with its kind.
    pub fn ask(&mut self, mut message: Message) -> io::Result<Vec<(u16, Vec<u8>)>> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(message.bytes.len()).map_err(io::Error::other)?;
        message.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        message.bytes[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        send(self.socket.as_raw_fd(), &message.bytes, MsgFlags::empty())?;
        let mut found = Vec::new();
        let mut buffer = vec![0; ANSWER_MAX];
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(0) => return Err(io::Error::other("the kernel closed the netlink socket")),
                Ok(length) => length,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            if self.take(&buffer[..length], message.dump, &mut found)? {
                return Ok(found);
            }
        }
    }

    /// Reads what came at once; `true`: that was the end.
    fn take(&self, mut bytes: &[u8], dump: bool, found: &mut Vec<(u16, Vec<u8>)>) -> io::Result<bool> {
        while let Some(header) = bytes.first_chunk::<HEADER>() {
            let length = usize::try_from(number(&header[..4])).map_err(io::Error::other)?;
            let kind = u16::from_ne_bytes([header[4], header[5]]);
            let sequence = number(&header[8..12]);
            let body = bytes.get(HEADER..length).ok_or_else(|| io::Error::other("a cut netlink message"))?;
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
            if sequence != self.sequence {
                continue;
            }
            match kind {
                ERROR => {
                    let code = number(body.get(..CODE).unwrap_or(&[0; CODE])).cast_signed();
                    return if code == 0 { Ok(true) } else { Err(io::Error::from_raw_os_error(-code)) };
                }
                DONE if dump => return Ok(true),
                _ => found.push((kind, body.to_vec())),
            }
        }
        Ok(false)
    }
}

/// Brings a link up. It is: fine.
pub fn link_up(netlink: &mut Netlink, index: u32) -> io::Result<()> {
    /// linux/rtnetlink.h, linux/if.h
    const RTM_SETLINK: u16 = 19;
    const UP: [u8; 4] = 1_u32.to_ne_bytes();
    // struct ifinfomsg: family, kind, index, flags, which of them change
    let mut body = [0; 16];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&UP);
    body[12..16].copy_from_slice(&UP);
    netlink.ask(Message::new(RTM_SETLINK, 0, &body)).map(drop)
}

/// Opens a pin, which must be a namespace: nothing else that bears its name is ever used.
pub fn namespace(pin: &Path) -> io::Result<File> {
    let file = File::open(pin)?;
    let found = fstatfs(&file)?.filesystem_type();
    if found == FsType(NSFS) {
        Ok(file)
    } else {
        Err(io::Error::other(format!("{} is no pinned namespace", pin.display())))
    }
}

/// A number of four bytes.
fn number(bytes: &[u8]) -> u32 {
    let mut four = [0; 4];
    four.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    u32::from_ne_bytes(four)
}

/// The attributes that follow a message's fixed part.
pub fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    /// Bits of the kind that are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
    const KIND: u16 = 0x3fff;
    let mut found = Vec::new();
    while let Some(header) = bytes.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let Some(value) = bytes.get(4..length) else { break };
        found.push((u16::from_ne_bytes([header[2], header[3]]) & KIND, value));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Message, attributes};

    #[test]
    fn attributes_are_padded_and_found_again() {
        let message = Message::new(16, 0, &[0; 16])
            .text(3, "eth0")
            .nested(18, &[], |inner| inner.text(1, "veth").attribute(2, &[7]));
        let found = attributes(&message.bytes[32..]);
        assert_eq!(found[0], (3, b"eth0\0".as_slice()));
        assert_eq!(found[1].0, 18);
        assert_eq!(attributes(found[1].1), [(1, b"veth\0".as_slice()), (2, [7].as_slice())]);
    }

    #[test]
    fn a_cut_attribute_ends_the_list() {
        assert!(attributes(&[200, 0, 1, 0, 1]).is_empty());
        assert!(attributes(&[0, 0, 1, 0]).is_empty());
    }
}
