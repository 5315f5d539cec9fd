//! The pace of a kubelet's loops.
//!
//! Never: waits for something to have happened.

use std::time::Duration;

/// Lets time pass.
pub(super) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}
