//! PullImage: not implemented yet.
//!
//! Never: answers success for what was not done.

use tonic::Status;

pub(in crate::cri) fn handle() -> Status {
    Status::unimplemented("PullImage is not implemented yet. Import a file: taffrail image import FILE.")
}
