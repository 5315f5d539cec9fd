//! What can go wrong with registries.
//!
//! Never: carries the words of its source in its own, or a secret; addresses are shown without their queries.

use std::{io, path::PathBuf};

use crate::image::Digest;

/// Why a registry did not give what was asked of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// It cannot be reached, or cannot serve now, and retries did not help.
    #[error("registry {host} cannot be used: {why}")]
    Unavailable {
        /// Host and port.
        host: String,
        /// What it was: in the end a word of the kernel, or the answer's status.
        why: String,
    },
    /// There is no such manifest or blob.
    #[error("{what} is not found at {host}{said}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// Host and port.
        host: String,
        /// The registry's own words after ": ", or nothing.
        said: String,
    },
    /// The registry does not let this caller have it.
    #[error("{host} denies access to {what} ({status}){said}")]
    Denied {
        /// Host and port.
        host: String,
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The registry's own words after ": ", or nothing; the cure where we know one.
        said: String,
    },
    /// An answer that is no registry's.
    #[error("{host} answered for {what}: {why}")]
    Answer {
        /// Host and port.
        host: String,
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// Bytes other than those that were asked for.
    #[error("{host} gave {what} with the digest {found}; it is damaged or forged")]
    WrongDigest {
        /// Host and port.
        host: String,
        /// What was asked for.
        what: String,
        /// What it is.
        found: Digest,
    },
    /// It wants to send us where we do not go.
    #[error("{host} redirects {what} to {to}, which is not followed: {why}")]
    Redirect {
        /// Host and port.
        host: String,
        /// What was asked for.
        what: String,
        /// Scheme, host and port.
        to: String,
        /// The reason.
        why: &'static str,
    },
    /// The operator forbids it.
    #[error("{name} is blocked by {file}")]
    Blocked {
        /// The image.
        name: String,
        /// Where that stands.
        file: PathBuf,
    },
    /// A configuration file of registries is not good.
    #[error("{file}: {why}")]
    Configuration {
        /// The file.
        file: PathBuf,
        /// The key, what is wrong, the cure.
        why: String,
    },
    /// A file beside the configuration cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
}

impl RegistryError {
    /// Whether another place that has the same may do better.
    pub(in crate::image) fn is_of_one_place(&self) -> bool {
        !matches!(self, Self::Blocked { .. } | Self::Configuration { .. })
    }
}
