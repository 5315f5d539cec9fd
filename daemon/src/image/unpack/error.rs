//! Why a layer's archive was refused.
//!
//! Never: carries the words of its source in its own.

use std::io;

/// What is wrong with an archive or one of its entries. Names are shown quoted: they are hostile bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The archive cannot be read on.
    #[error("the archive cannot be read beyond byte {offset}; it is cut or damaged")]
    Read {
        /// Bytes read so far, decompressed.
        offset: u64,
        /// The error.
        source: io::Error,
    },
    /// It ends inside an entry.
    #[error("the archive ends at byte {offset}, inside an entry; it is cut")]
    Cut {
        /// Where it ends, decompressed.
        offset: u64,
    },
    /// A header is none.
    #[error("the header at byte {offset} is damaged: {why}")]
    Header {
        /// Where the header begins, decompressed.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// A kind of compression that no image has.
    #[error("the layer is compressed with {0}; gzip and zstd are supported")]
    Compression(&'static str),
    /// Not one of the kinds of entries that a layer has.
    #[error("entry {entry} is {kind}, which is not supported in a layer")]
    Kind {
        /// The entry.
        entry: String,
        /// What it is.
        kind: String,
    },
    /// A name that would leave the layer.
    #[error("entry {entry} would leave the layer's folder: {why}")]
    Leaves {
        /// The entry.
        entry: String,
        /// By what.
        why: &'static str,
    },
    /// The way to an entry leads in circles.
    #[error("entry {entry} leads through more symbolic links than any system follows")]
    Circle {
        /// The entry.
        entry: String,
    },
    /// The way to an entry leads through something that is no folder.
    #[error("entry {entry} lies below something that is no folder")]
    NoFolder {
        /// The entry.
        entry: String,
    },
    /// A hard link to what is not in the layer.
    #[error("entry {entry} is a hard link to {target}, which is not in the layer")]
    NoTarget {
        /// The entry.
        entry: String,
        /// What it links to.
        target: String,
    },
    /// A hard link whose target would leave the layer.
    #[error(
        "entry {entry} is a hard link to {target}, which leaves the layer's folder or leads through a link"
    )]
    BadTarget {
        /// The entry.
        entry: String,
        /// What it links to.
        target: String,
    },
    /// A whiteout of nothing that could be there.
    #[error("whiteout {entry} hides no name")]
    Whiteout {
        /// The entry.
        entry: String,
    },
    /// An attribute that steers overlay itself.
    #[error("entry {entry} sets the attribute {name}, which is the runtime's own")]
    Reserved {
        /// The entry.
        entry: String,
        /// The attribute.
        name: String,
    },
    /// A value that the kernel cannot take.
    #[error("entry {entry} has a bad {what}")]
    Value {
        /// The entry.
        entry: String,
        /// What is bad.
        what: &'static str,
    },
    /// A bound was passed.
    #[error("the archive passes the bound of {max} {what}")]
    Bound {
        /// Of what.
        what: &'static str,
        /// The bound.
        max: u64,
    },
    /// A layer below, which this one needs, cannot be had.
    #[error("a layer below could not be made")]
    Below(#[source] crate::snapshot::FillError),
    /// The disk refused.
    #[error("entry {entry}: cannot {what}")]
    Disk {
        /// The entry.
        entry: String,
        /// What was being done.
        what: &'static str,
        /// The error.
        source: io::Error,
    },
}

impl UnpackError {
    /// Whether the archive is damaged rather than hostile or too much: then its digest tells more.
    pub(in crate::image) fn is_damage(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Cut { .. } | Self::Header { .. } | Self::Compression(_))
    }
}

/// A name as it is shown in errors: quoted, escaped, and not longer than anybody reads.
pub(super) fn shown(name: &[u8]) -> String {
    const SHOWN_MAX: usize = 200;
    let cut = &name[..name.len().min(SHOWN_MAX)];
    let dots = if cut.len() < name.len() { "..." } else { "" };
    format!("\"{}{dots}\"", cut.escape_ascii())
}
