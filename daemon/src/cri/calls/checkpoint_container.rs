//! CheckpointContainer: not implemented yet.
//!
//! Never: answers success for what was not done.

use tonic::Status;

/// The text is one of the few by which the kubelet's own tests know that there is no checkpoint.
pub(in crate::cri) fn handle() -> Status {
    Status::unimplemented("method CheckpointContainer not implemented")
}
