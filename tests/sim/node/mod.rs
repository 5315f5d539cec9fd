//! One container on one node, in memory: the daemon's owner with its procedures, the shim, the keeper, the container's
//! first process, and the files. The machines are the product's; around them stands, in few words, what their owners do.
//!
//! Owns: what may happen next, and what must be true. Never: a clock; what takes time may happen at any time.

mod daemon;
mod procedures;
mod shim;
mod watch;
mod world;

pub use world::{Budget, Node};
