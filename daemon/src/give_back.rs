//! Memory that a burst of pods has needed is given back when it is quiet again.
//!
//! Owns: when. Never: wakes up by itself where nothing has happened.

use crate::{
    events::{Ended, Events},
    limits,
    sys::heap,
    tasks::{Pool, blocking},
};

/// Follows what happens until the daemon ends.
pub async fn when_quiet(events: Events) {
    let mut heard = events.listen();
    loop {
        // Begun with a pause: a daemon that has just looked at everything has much to give.
        match tokio::time::timeout(limits::QUIET, heard.next()).await {
            Ok(Err(Ended::Over)) => return,
            Ok(Ok(_) | Err(Ended::Missed(_))) => continue,
            Err(_) => blocking(Pool::Disk, heap::give_back).await,
        }
        if matches!(heard.next().await, Err(Ended::Over)) {
            return;
        }
    }
}
