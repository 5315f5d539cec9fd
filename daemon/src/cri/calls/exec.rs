//! Exec: not implemented yet.
//!
//! Never: answers success for what was not done.

use tonic::Status;

pub(in crate::cri) fn handle() -> Status {
    Status::unimplemented("Exec is not implemented yet. Use ExecSync.")
}
