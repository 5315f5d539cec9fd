//! What can go wrong with a container, in words for its user.
//!
//! Never: a gRPC code; that is `cri::error`'s.

use super::user::UserError;
use crate::{ids::Ambiguous, oci::UnknownHandler, oci::spec::SpecError, shims::LinkError, steps::CanFail};

/// Why something with a container failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// No such id.
    #[error("there is no container {0}")]
    NotFound(String),
    /// More than one.
    #[error(transparent)]
    Ambiguous(#[from] Ambiguous),
    /// The handler is not configured.
    #[error(transparent)]
    Handler(#[from] UnknownHandler),
    /// The wish cannot be fulfilled.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The image has no such user.
    #[error("user: {0}")]
    User(#[from] UserError),
    /// A mount's path on the host.
    #[error("config.mounts.host_path {path}: {why}")]
    Source {
        /// The path.
        path: String,
        /// Why.
        why: String,
    },
    /// A mount that the runtime cannot make read-only as asked.
    #[error(
        "config.mounts.recursive_read_only: the runtime {runtime} cannot do it (`{runtime} features` names no rro)"
    )]
    NotRecursive {
        /// The runtime's handler.
        runtime: String,
    },
    /// A device of the host.
    #[error("config.devices.host_path {path}: {why}")]
    Device {
        /// The path.
        path: String,
        /// Why.
        why: String,
    },
    /// A volume of the image.
    #[error("the image's volume {path}: {why}")]
    Volume {
        /// The path.
        path: String,
        /// Why.
        why: String,
    },
    /// The image's root file system.
    #[error(
        "the image's /{name} is a symbolic link: what hides parts of it from the container could be led astray"
    )]
    LinkedRoot {
        /// The name.
        name: &'static str,
    },
    /// The container whose processes were to be seen.
    #[error("namespace_options.target_id {target}: {why}")]
    Target {
        /// What was asked for.
        target: String,
        /// Why.
        why: String,
    },
    /// A signal nobody knows.
    #[error("{0:?} is no signal")]
    UnknownSignal(String),
    /// Another one has this name and differs.
    #[error(
        "a container named {name} (attempt {attempt}) is in the sandbox already as {id}, made from another configuration; remove it first"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// The attempt.
        attempt: u32,
        /// Whose it is.
        id: String,
    },
    /// Not from this state.
    #[error("container {id} is {state}: it cannot be {what}")]
    State {
        /// The container.
        id: String,
        /// Its state.
        state: &'static str,
        /// What was asked.
        what: &'static str,
    },
    /// A source of a mount does not answer.
    #[error(
        "{place}; a source of its mounts does not answer, is a file system of the host hung? One of: {paths}"
    )]
    Hangs {
        /// The container and its step.
        place: String,
        /// The sources that were asked for.
        paths: String,
    },
    /// A wish that the container's own state does not allow.
    #[error("container {id}: {message}")]
    Refused {
        /// The container.
        id: String,
        /// Why.
        message: String,
    },
    /// A step of a procedure failed.
    #[error("container {id}: {step} failed: {message}")]
    Step {
        /// The container.
        id: String,
        /// The step's name.
        step: &'static str,
        /// Why.
        message: String,
    },
    /// The runtime could not start it; its own words.
    #[error("container {id} could not be started: {message}")]
    Start {
        /// The container.
        id: String,
        /// The runtime's words.
        message: String,
    },
    /// It did not die.
    #[error("container {id} cannot be killed: {message}")]
    Unkillable {
        /// The container.
        id: String,
        /// What is known.
        message: String,
    },
    /// Its shim gave no answer.
    #[error("container {id}: {message}")]
    Shim {
        /// The container.
        id: String,
        /// Why.
        message: String,
        /// The conversation broke: another shim may be in its place.
        gone: bool,
    },
    /// Too many commands run in it.
    #[error("container {id}: too many commands are being executed; try again when some have ended")]
    Busy {
        /// The container.
        id: String,
    },
    /// Something is left of it.
    #[error("container {id} could not be removed whole: {what}")]
    Left {
        /// The container.
        id: String,
        /// What, and why.
        what: String,
    },
}

impl<T> CanFail for Result<T, ContainerError> {
    fn failed(why: String) -> Self {
        Err(ContainerError::Step { id: String::new(), step: "a step", message: why })
    }
}

impl ContainerError {
    /// A step's failure.
    pub(super) fn step(id: &str, step: &'static str, error: impl ToString) -> Self {
        Self::Step { id: id.to_owned(), step, message: error.to_string() }
    }

    /// A shim's silence or refusal.
    pub(super) fn shim(id: &str, error: impl ToString) -> Self {
        Self::Shim { id: id.to_owned(), message: error.to_string(), gone: false }
    }

    /// A shim's silence or refusal in the middle of a start.
    pub(super) fn link(id: &str, error: &LinkError) -> Self {
        let gone = matches!(error, LinkError::Unreachable(_));
        Self::Shim { id: id.to_owned(), message: error.to_string(), gone }
    }

    /// Whether a conversation with a shim broke.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Shim { gone: true, .. })
    }
}
