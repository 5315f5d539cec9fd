//! Waiting for an event with a deadline: the only place of the tests where time passes.
//!
//! Never: waits for a fixed time and hopes.

use std::time::{Duration, Instant};

use crate::limits::LOOK;

/// Looks until there is something, or until the deadline: then the test fails and says what it waited for.
pub fn eventually<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    match within(deadline, &mut look) {
        Some(found) => found,
        None => panic!("waited {deadline:?} in vain for {what}"),
    }
}

/// Looks until there is something; `None` after the deadline.
pub fn within<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "between two looks at a condition that has a deadline")]
fn pause() {
    std::thread::sleep(LOOK);
}
