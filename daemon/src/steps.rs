//! Named steps of the procedures: one word is a trace span and the place where a test may kill the daemon.
//!
//! Owns: the meaning of a step's name. Never: what the step does.

use std::{future::Future, time::Instant};

use tracing::{Instrument, debug_span};

use crate::operations;

/// Runs one named step of a procedure. `name` is `object.verb`, unique in the program (a tidy test keeps it so).
pub async fn step<F: Future>(name: &'static str, work: F) -> F::Output {
    reach(name);
    let _place = operations::enter(name);
    let begun = Instant::now();
    let done = work.instrument(debug_span!("step", name)).await;
    tracing::debug!(name, micros = begun.elapsed().as_micros(), "step ended");
    done
}

/// Marks that a step is reached; with the feature `failpoints` and `TAFFRAIL_FAILPOINT=name` the program dies
/// here as by SIGKILL.
pub fn reach(name: &'static str) {
    tracing::trace!(name, "step");
    #[cfg(feature = "failpoints")]
    if std::env::var_os("TAFFRAIL_FAILPOINT").is_some_and(|wanted| wanted == name) {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}
