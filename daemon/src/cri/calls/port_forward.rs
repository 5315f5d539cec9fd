//! PortForward: not implemented yet.
//!
//! Never: answers success for what was not done.

use tonic::Status;

pub(in crate::cri) fn handle() -> Status {
    Status::unimplemented("PortForward is not implemented yet. Pods have no network yet.")
}
