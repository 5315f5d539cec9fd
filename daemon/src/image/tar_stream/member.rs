//! One entry of a tar archive, with long names and extended headers already applied.
//!
//! Owns: what the header's fields mean. Never: trusts a name; whoever uses it checks it.

use std::io;

use super::pax::Pax;
use crate::sys::unpack::{Attributes, Kind};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image) enum MemberKind {
    File,
    Folder,
    Link,
    HardLink,
    /// A device or a named pipe.
    Node(Kind),
    /// GNU's sparse file, old or new form.
    Sparse,
    /// Something else, by its type letter.
    Other(u8),
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::image) struct Member {
    /// As it stands in the archive.
    pub(in crate::image) path: Vec<u8>,
    /// Text of a link, or the name that a hard link shares.
    pub(in crate::image) link: Vec<u8>,
    pub(in crate::image) kind: MemberKind,
    pub(in crate::image) attributes: Attributes,
    /// Bytes of data that follow the header.
    pub(in crate::image) size: u64,
    /// Where the data begins in the (decompressed) archive.
    pub(in crate::image) offset: u64,
}

/// Longer names from entries of their own (GNU's `L` and `K`).
#[derive(Debug, Default)]
pub(super) struct LongNames {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
}

impl Member {
    /// Puts one together; an error says what is wrong.
    pub(super) fn new(header: &tar::Header, pax: Pax, long: LongNames, offset: u64) -> Result<Self, String> {
        let word = |error: std::io::Error| error.to_string();
        let own_link = || header.link_name_bytes().map_or_else(Vec::new, |link| link.into_owned());
        let path = pax.path.or(long.path).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = pax.link.or(long.link).unwrap_or_else(own_link);
        let kind = if pax.sparse { MemberKind::Sparse } else { kind(header, &path)? };
        let size = match kind {
            MemberKind::File | MemberKind::Sparse | MemberKind::Other(_) => match pax.size {
                Some(size) => size,
                None => size(header)?,
            },
            // As every reader of layers has it: nothing follows such a header, whatever size it states.
            MemberKind::Folder | MemberKind::Link | MemberKind::HardLink | MemberKind::Node(_) => 0,
        };
        let id = |wide: Result<u64, std::io::Error>, what: &str| -> Result<u32, String> {
            let narrow = u32::try_from(wide.map_err(word)?).ok();
            // The last value means "leave it" to the kernel.
            narrow.filter(|id| *id != u32::MAX).ok_or_else(|| format!("the {what} is out of range"))
        };
        let uid = id(pax.uid.map_or_else(|| or_zero(&header.as_old().uid, || header.uid()), Ok), "uid")?;
        let gid = id(pax.gid.map_or_else(|| or_zero(&header.as_old().gid, || header.gid()), Ok), "gid")?;
        let own_time = || (i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0), 0);
        let mtime = Some(pax.mtime.unwrap_or_else(own_time));
        let mode = or_zero(&header.as_old().mode, || header.mode()).map_err(word)? & 0o7777;
        let attributes = Attributes { mode, uid, gid, mtime, xattrs: pax.xattrs };
        Ok(Self { path, link, kind, attributes, size, offset })
    }
}

/// Bytes of data that follow a header.
pub(super) fn size(header: &tar::Header) -> Result<u64, String> {
    or_zero(&header.as_old().size, || header.entry_size()).map_err(|error| error.to_string())
}

/// A field that holds no digit is 0, as every other reader has it; Go's writer leaves such.
fn or_zero<T: Default>(field: &[u8], read: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if field.iter().all(|b| matches!(b, 0 | b' ')) { Ok(T::default()) } else { read() }
}

fn kind(header: &tar::Header, path: &[u8]) -> Result<MemberKind, String> {
    let device = |field: std::io::Result<Option<u32>>| field.map(Option::unwrap_or_default);
    let fields = match (header.as_ustar(), header.as_gnu()) {
        (Some(header), _) => (header.dev_major, header.dev_minor),
        (_, Some(header)) => (header.dev_major, header.dev_minor),
        (None, None) => Default::default(),
    };
    let numbers = || -> Result<(u32, u32), String> {
        let major = or_zero(&fields.0, || device(header.device_major()));
        let both = major.and_then(|major| Ok((major, or_zero(&fields.1, || device(header.device_minor()))?)));
        both.map_err(|error| error.to_string())
    };
    Ok(match header.entry_type().as_byte() {
        // Archives older than the type for folders mark them by a slash.
        b'0' | b'\0' | b'7' if path.ends_with(b"/") => MemberKind::Folder,
        b'0' | b'\0' | b'7' => MemberKind::File,
        b'1' => MemberKind::HardLink,
        b'2' => MemberKind::Link,
        b'3' => numbers().map(|(major, minor)| MemberKind::Node(Kind::Char(major, minor)))?,
        b'4' => numbers().map(|(major, minor)| MemberKind::Node(Kind::Block(major, minor)))?,
        b'5' => MemberKind::Folder,
        b'6' => MemberKind::Node(Kind::Fifo),
        b'S' => MemberKind::Sparse,
        other => MemberKind::Other(other),
    })
}
