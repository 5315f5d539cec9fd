//! ListMetricDescriptors: not implemented yet.
//!
//! Never: answers success for what was not done.

use tonic::Status;

pub(in crate::cri) fn handle() -> Status {
    Status::unimplemented("ListMetricDescriptors is not implemented yet. There are no metrics yet.")
}
