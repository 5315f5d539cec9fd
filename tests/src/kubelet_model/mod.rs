//! A kubelet as a program of ours: a sync loop for each pod, a look at all of them each second, deadlines, retries,
//! attempts, garbage collection, and calls that are given up at random; beside it a plain model of what must be true
//! whatever happens to the daemon, its shims or its calls.
//!
//! Owns: the pods it made. Never: breaks anything but its own calls; that is its caller's.

mod caller;
mod clock;
mod node;
mod plan;
mod pod;
mod truth;

pub use caller::{Caller, Failed};
pub use node::{Node, Pace, Summary};
pub use plan::Plan;
pub use truth::{Deaths, ShimDeath, Truth, Violation};
