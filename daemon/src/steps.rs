//! Named steps of the procedures: one word is a trace span and the place where a test may kill, fail or delay the
//! daemon.
//!
//! Owns: the meaning of a step's name. Never: what the step does.

use std::{ffi::OsString, future::Future, io, time::Instant};

use tracing::{Instrument, debug_span};

use crate::operations;

/// Runs one named step of a procedure that has nothing to fail with. `name` is `object.verb`, unique in the program
/// (a tidy test keeps it so).
pub async fn step<F: Future>(name: &'static str, work: F) -> F::Output {
    let _place = operations::enter(name);
    meet(name).await;
    traced(name, work).await
}

/// Runs one named step that can fail. Where a test wants it to, it fails instead of being done.
pub async fn attempt<F: Future<Output: CanFail>>(name: &'static str, work: F) -> F::Output {
    let _place = operations::enter(name);
    if let Some(why) = meet(name).await {
        return CanFail::failed(why);
    }
    traced(name, work).await
}

/// Marks that a step is reached, between two lines that a process may die between.
pub fn reach(name: &'static str) {
    drop(check(name));
}

/// Marks that a step of blocking work is reached that can fail. It does so only where a test wants it.
pub fn check(name: &'static str) -> io::Result<()> {
    tracing::trace!(name, "step");
    #[cfg(feature = "failpoints")]
    if let Some(why) = failpoints::meet(name) {
        return Err(io::Error::other(why));
    }
    Ok(())
}

/// An outcome that a step can fail with.
pub trait CanFail {
    /// The failed outcome, for this reason.
    fn failed(why: String) -> Self;
}

impl<T> CanFail for io::Result<T> {
    fn failed(why: String) -> Self {
        Err(io::Error::other(why))
    }
}

impl<T> CanFail for Result<T, String> {
    fn failed(why: String) -> Self {
        Err(why)
    }
}

impl<T> CanFail for Result<T, Vec<String>> {
    fn failed(why: String) -> Self {
        Err(vec![why])
    }
}

impl CanFail for Vec<String> {
    fn failed(why: String) -> Self {
        vec![why]
    }
}

/// What a child of ours needs in its environment to find the same failpoints; nothing in a release.
pub fn environment() -> Option<(&'static str, OsString)> {
    #[cfg(feature = "failpoints")]
    return failpoints::environment();
    #[cfg(not(feature = "failpoints"))]
    None
}

async fn traced<F: Future>(name: &'static str, work: F) -> F::Output {
    let begun = Instant::now();
    let done = work.instrument(debug_span!("step", name)).await;
    tracing::debug!(name, micros = begun.elapsed().as_micros(), "step ended");
    done
}

/// Why the step is to fail, if it is. A delay is waited for.
async fn meet(name: &'static str) -> Option<String> {
    tracing::trace!(name, "step");
    #[cfg(feature = "failpoints")]
    return failpoints::meet_async(name).await;
    #[cfg(not(feature = "failpoints"))]
    None
}

/// What builds for tests have more.
#[cfg(feature = "failpoints")]
mod failpoints {
    use std::{ffi::OsString, time::Duration};

    use nix::sys::signal::{Signal, raise};
    use protocol::failpoint::{Action, FOLDER, hit};

    pub(super) fn environment() -> Option<(&'static str, OsString)> {
        std::env::var_os(FOLDER).map(|folder| (FOLDER, folder))
    }

    #[expect(clippy::disallowed_methods, reason = "time that passes is what the test asks for")]
    pub(super) fn meet(name: &str) -> Option<String> {
        obey(name).unwrap_or_else(|time| {
            std::thread::sleep(time);
            None
        })
    }

    pub(super) async fn meet_async(name: &str) -> Option<String> {
        match obey(name) {
            Ok(why) => why,
            Err(time) => {
                tokio::time::sleep(time).await;
                None
            }
        }
    }

    /// Why to fail, or for how long to wait.
    fn obey(name: &str) -> Result<Option<String>, Duration> {
        match hit(name) {
            None => Ok(None),
            Some(Action::Kill) => {
                raise(Signal::SIGKILL).ok();
                Ok(None)
            }
            Some(Action::Fail) => Ok(Some(format!("the failpoint {name} says so"))),
            Some(Action::Delay(time)) => Err(time),
        }
    }
}
