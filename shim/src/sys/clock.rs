//! The wall clock, as the records and the log want it, and moments that a successor understands.
//!
//! Owns: nothing. Never: measures a duration; that is `Instant`'s.

use std::time::{Duration, Instant, SystemTime};

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since the epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A moment as nanoseconds of the clock that `Instant` reads (`CLOCK_MONOTONIC`), the same for all processes; never 0.
pub(crate) fn to_nanos(at: Instant) -> u64 {
    let (now, nanos) = (Instant::now(), monotonic());
    let nanos = if at >= now { nanos.saturating_add(at - now) } else { nanos.saturating_sub(now - at) };
    u64::try_from(nanos.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// The moment of [`to_nanos`].
pub(crate) fn from_nanos(nanos: u64) -> Instant {
    let (now, at) = (Instant::now(), Duration::from_nanos(nanos));
    let present = monotonic();
    let past = present.checked_sub(at).and_then(|ago| now.checked_sub(ago));
    past.or_else(|| now.checked_add(at.saturating_sub(present))).unwrap_or(now)
}

fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{from_nanos, to_nanos};

    #[test]
    fn a_moment_comes_back() {
        let now = Instant::now();
        for at in [now, now + Duration::from_secs(1000), now.checked_sub(Duration::from_millis(5)).unwrap()] {
            let back = from_nanos(to_nanos(at));
            let off = if back > at { back - at } else { at - back };
            assert!(off < Duration::from_millis(100), "{off:?}");
        }
    }
}
