//! From the domain's errors to gRPC codes: the only place that chooses one.
//!
//! NOT_FOUND is the only code the kubelet takes as "already gone", DEADLINE_EXCEEDED its only sign of a probe
//! that timed out, UNIMPLEMENTED its only sign of a feature that is not there. Never: a wildcard arm.

use tonic::{Code, Status};

use crate::{
    container::ContainerError,
    image::{ImageError, RegistryError},
    pod::PodError,
    sandbox::SandboxError,
};

/// A wish that cannot be understood or fulfilled.
pub(super) fn invalid(message: impl Into<String>) -> Status {
    Status::invalid_argument(message)
}

pub(super) fn sandbox(error: SandboxError) -> Status {
    let code = match &error {
        SandboxError::NotFound(_) => Code::NotFound,
        SandboxError::Ambiguous(_) | SandboxError::Handler(_) => Code::InvalidArgument,
        SandboxError::NameTaken { .. } => Code::AlreadyExists,
        SandboxError::NotReady(_) => Code::FailedPrecondition,
        SandboxError::Step { .. } | SandboxError::Left { .. } => Code::Internal,
    };
    Status::new(code, error.to_string())
}

pub(super) fn container(error: ContainerError) -> Status {
    let code = match &error {
        ContainerError::NotFound(_) => Code::NotFound,
        ContainerError::Ambiguous(_)
        | ContainerError::Handler(_)
        | ContainerError::Spec(_)
        | ContainerError::User(_)
        | ContainerError::Source { .. }
        | ContainerError::NotRecursive { .. }
        | ContainerError::Device { .. }
        | ContainerError::Volume { .. }
        | ContainerError::LinkedRoot { .. }
        | ContainerError::Target { .. }
        | ContainerError::UnknownSignal(_) => Code::InvalidArgument,
        ContainerError::NameTaken { .. } => Code::AlreadyExists,
        ContainerError::State { .. } | ContainerError::Refused { .. } => Code::FailedPrecondition,
        ContainerError::Shim { .. } => Code::Unavailable,
        ContainerError::Busy { .. } => Code::ResourceExhausted,
        ContainerError::Hangs { .. } => Code::DeadlineExceeded,
        ContainerError::Step { .. }
        | ContainerError::Start { .. }
        | ContainerError::Unkillable { .. }
        | ContainerError::Left { .. } => Code::Internal,
    };
    Status::new(code, error.to_string())
}

pub(super) fn pod(error: PodError) -> Status {
    match error {
        PodError::Sandbox(error) => sandbox(error),
        PodError::Container(error) => container(error),
    }
}

/// Whether the disk has no room: the image is not to blame, and another try may do.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let own = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    let full = matches!(own, Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded));
    full || error.source().is_some_and(is_full)
}

pub(super) fn image(error: &ImageError) -> Status {
    let code = match error {
        full if is_full(full) => Code::ResourceExhausted,
        ImageError::Source { .. }
        | ImageError::NotAnImage(_)
        | ImageError::Archive { .. }
        | ImageError::Missing(_)
        | ImageError::TooLarge { .. }
        | ImageError::TooMany { .. }
        | ImageError::Json { .. }
        | ImageError::Document { .. }
        | ImageError::MediaType { .. }
        | ImageError::WrongDigest { .. }
        | ImageError::BadDigest { .. }
        | ImageError::WrongLength { .. }
        | ImageError::LayerCount { .. }
        | ImageError::Name(_)
        | ImageError::Platform { .. }
        | ImageError::Layer { .. } => Code::InvalidArgument,
        ImageError::Registry { source, .. } => return registry(error, source),
        ImageError::Abandoned(_) => Code::Cancelled,
        ImageError::InUse { .. } => Code::FailedPrecondition,
        ImageError::Snapshot(_) | ImageError::Catalogue { .. } => Code::Internal,
    };
    Status::new(code, chain(error))
}

/// The kubelet looks for two beginnings of a pull's error, and finds them only where the code is UNKNOWN.
fn registry(error: &ImageError, source: &RegistryError) -> Status {
    let code = match source {
        RegistryError::Unavailable { .. } => {
            return Status::unknown(format!("RegistryUnavailable: {}", chain(error)));
        }
        RegistryError::NotFound { .. } => Code::NotFound,
        RegistryError::Denied { status: 401, .. } => Code::Unauthenticated,
        RegistryError::Denied { .. } | RegistryError::Blocked { .. } => Code::PermissionDenied,
        RegistryError::Answer { .. } | RegistryError::WrongDigest { .. } | RegistryError::Redirect { .. } => {
            Code::Unknown
        }
        RegistryError::Configuration { .. } | RegistryError::File { .. } => Code::FailedPrecondition,
    };
    Status::new(code, chain(error))
}

/// An error and its causes in one line: each prints its own sentence only.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
