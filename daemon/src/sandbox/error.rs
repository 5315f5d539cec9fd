//! What can go wrong with a sandbox, in words for its user.
//!
//! Never: a gRPC code; that is `cri::error`'s.

use super::SandboxName;
use crate::{ids::Ambiguous, oci::UnknownHandler};

/// Why something with a sandbox failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SandboxError {
    /// No such id.
    #[error("there is no sandbox {0}")]
    NotFound(String),
    /// More than one.
    #[error(transparent)]
    Ambiguous(#[from] Ambiguous),
    /// The handler is not configured.
    #[error(transparent)]
    Handler(#[from] UnknownHandler),
    /// Another one has this name and differs.
    #[error(
        "a sandbox named {name} is there already as {id}, made from another configuration; remove it first"
    )]
    NameTaken {
        /// The name.
        name: SandboxName,
        /// Whose it is.
        id: String,
    },
    /// It was stopped.
    #[error("sandbox {0} is not ready: it was stopped; remove it, or run one with another attempt")]
    NotReady(String),
    /// A step of a procedure failed.
    #[error("sandbox {id}: {step} failed: {message}")]
    Step {
        /// The sandbox.
        id: String,
        /// The step's name.
        step: &'static str,
        /// Why.
        message: String,
    },
    /// Something is left of it.
    #[error("sandbox {id} could not be removed whole: {what}")]
    Left {
        /// The sandbox.
        id: String,
        /// What, and why.
        what: String,
    },
}

impl SandboxError {
    /// A step's failure.
    pub(super) fn step(id: &str, step: &'static str, error: impl ToString) -> Self {
        Self::Step { id: id.to_owned(), step, message: error.to_string() }
    }
}
