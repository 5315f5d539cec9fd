//! The wall clock, as the records and the log want it.
//!
//! Owns: nothing. Never: measures a duration; that is `Instant`'s.

use std::time::SystemTime;

/// Nanoseconds since the epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
