//! UpdatePodSandboxResources: not implemented yet.
//!
//! Never: answers success for what was not done.

use tonic::Status;

pub(in crate::cri) fn handle() -> Status {
    Status::unimplemented(
        "UpdatePodSandboxResources is not implemented yet. Limits are set at creation only.",
    )
}
