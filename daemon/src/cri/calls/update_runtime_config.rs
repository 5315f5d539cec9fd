//! UpdateRuntimeConfig: not implemented yet.
//!
//! Never: answers success for what was not done.

use tonic::Status;

pub(in crate::cri) fn handle() -> Status {
    Status::unimplemented("UpdateRuntimeConfig is not implemented yet. There is no network to configure yet.")
}
