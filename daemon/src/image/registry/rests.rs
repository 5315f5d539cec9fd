//! Which places want to be left alone, and until when.
//!
//! Owns: what their `Retry-After` said. Never: keeps a request that is under way from its own retries.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The ends of the rests, by the number of the place.
#[derive(Debug, Default)]
pub(super) struct Rests(Mutex<HashMap<usize, Instant>>);

impl Rests {
    /// A place wants to be left alone for so long.
    pub(super) fn begin(&self, at: usize, rest: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(at, Instant::now() + rest);
    }

    /// Waits until it does not.
    pub(super) async fn over(&self, at: usize) {
        while let Some(until) = self.until(at).filter(|until| *until > Instant::now()) {
            tokio::time::sleep_until(until).await;
        }
    }

    fn until(&self, at: usize) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, Rests};

    #[tokio::test]
    async fn a_place_that_wants_to_be_left_alone_is_waited_for() {
        let (rests, rest, began) = (Rests::default(), Duration::from_millis(50), Instant::now());
        rests.over(0).await;
        rests.begin(0, rest);
        rests.over(1).await;
        rests.over(0).await;
        assert!(began.elapsed() >= rest);
    }
}
