//! What can go wrong with images.
//!
//! Never: carries the words of its source in its own.

use std::{io, path::PathBuf};

use crate::{
    image::{Digest, RegistryError, unpack::UnpackError},
    snapshot::SnapshotError,
    steps::CanFail,
};

/// Why an image was not imported, listed or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The image's file or folder cannot be read.
    #[error("cannot read {path}")]
    Source {
        /// The file or folder.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// It is no image in a form that is known.
    #[error("{0} holds no image: an OCI layout has an index.json, a docker archive a manifest.json")]
    NotAnImage(PathBuf),
    /// The archive around the image is damaged.
    #[error("the archive {path} is damaged")]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: UnpackError,
    },
    /// Something that the image names is not in the archive.
    #[error("{0} is named by the image but is not in the archive; the archive is cut or was made by halves")]
    Missing(String),
    /// A document is beyond its bound.
    #[error("{name} is larger than {max} bytes")]
    TooLarge {
        /// The document.
        name: String,
        /// The bound.
        max: u64,
    },
    /// More of something than is sane.
    #[error("{name} lists more than {max} {what}")]
    TooMany {
        /// The document.
        name: String,
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// A document is not what it should be.
    #[error("{name} is no valid JSON document of its kind")]
    Json {
        /// The document.
        name: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A document lacks something or contradicts itself.
    #[error("{name} {why}")]
    Document {
        /// The document.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The media type is none that can be run.
    #[error("{name} has the media type {found:?}, which is no image's")]
    MediaType {
        /// What bears it.
        name: String,
        /// The media type.
        found: String,
    },
    /// The bytes are not those that were promised.
    #[error("{name} has the digest {found} instead of {expected}; it is damaged or forged")]
    WrongDigest {
        /// The blob.
        name: String,
        /// What was promised.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// A digest of another kind, or none at all.
    #[error("{text:?} in {name} is no sha256 digest; only those are supported")]
    BadDigest {
        /// Where it stands.
        name: String,
        /// What stands there.
        text: String,
    },
    /// The length is not the one that was promised.
    #[error("{name} has {found} bytes instead of {expected}; it is cut or damaged")]
    WrongLength {
        /// The blob.
        name: String,
        /// What was promised.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// Manifest and configuration do not fit together.
    #[error("the image has {layers} layers but its configuration lists {diff_ids}")]
    LayerCount {
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
    /// Nothing for this machine.
    #[error("{name} holds no image for {wanted}")]
    Platform {
        /// The document.
        name: String,
        /// `os/architecture` of this machine.
        wanted: String,
    },
    /// A layer's archive is damaged or hostile.
    #[error("layer {layer} was refused")]
    Layer {
        /// Its digest, or its name in the archive.
        layer: String,
        /// The entry and the reason.
        source: UnpackError,
    },
    /// A name that is none.
    #[error("{0:?} is no name of an image; one is like registry.example.com/path/name:tag")]
    Name(String),
    /// A registry did not give what was asked of it.
    #[error("image {image} cannot be pulled")]
    Registry {
        /// The image's name.
        image: String,
        /// Why.
        source: RegistryError,
    },
    /// Nobody waits for the pull any more.
    #[error("the pull of image {0} was given up, since nobody waits for it")]
    Abandoned(String),
    /// The layer store failed.
    #[error("the layer store failed")]
    Snapshot(#[from] SnapshotError),
    /// The image is in use.
    #[error("image {image} is used by {pins} container(s); remove them first")]
    InUse {
        /// The image's id.
        image: String,
        /// How many hold it.
        pins: usize,
    },
    /// The catalogue cannot be read or written.
    #[error("cannot {what} {path}")]
    Catalogue {
        /// What was being done.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
}

impl<T> CanFail for Result<T, ImageError> {
    fn failed(why: String) -> Self {
        Err(ImageError::Document { name: "a step of the pull".to_owned(), why })
    }
}
