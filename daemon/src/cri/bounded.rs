//! A call from its beginning to its bound: in the table of what is under way, and answered at its deadline with the step
//! it is in.
//!
//! Owns: which bound counts. Never: ends the work; that goes on, and the next call joins it.

use std::time::Duration;

use tonic::{Response, Status, metadata::MetadataMap};

use super::deadline::timeout;
use crate::{
    limits,
    operations::{About, Operations},
};

/// A call as it came in.
#[derive(Debug)]
pub(super) struct Call {
    name: &'static str,
    about: About,
    timeout: Option<Duration>,
    allowed: Duration,
}

impl Call {
    /// Of this name, about this object; the caller's deadline is in its metadata.
    pub(super) fn new(name: &'static str, about: About, metadata: &MetadataMap) -> Self {
        Self { name, about, timeout: timeout(metadata), allowed: Duration::ZERO }
    }

    /// It may well take so many seconds: a grace period, a command's own timeout.
    pub(super) fn allow(self, seconds: i64) -> Self {
        let seconds = u64::try_from(seconds.clamp(0, limits::GRACE_MAX)).unwrap_or(0);
        Self { allowed: Duration::from_secs(seconds), ..self }
    }

    /// It ends by itself: what it waits for has bounds of its own.
    pub(super) fn without_own_bound(self) -> Self {
        Self { allowed: Duration::MAX, ..self }
    }

    /// Runs it, at most until its bound.
    pub(super) async fn run<T>(
        self,
        operations: &Operations,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<Response<T>, Status> {
        let bound = self.timeout.unwrap_or_else(|| self.allowed.saturating_add(limits::CALL));
        match operations.call(self.name, self.about, (bound, self.allowed), work).await {
            Ok(done) => done.map(Response::new),
            Err(place) => Err(Status::deadline_exceeded(format!("{place}; the work goes on, ask again"))),
        }
    }
}
