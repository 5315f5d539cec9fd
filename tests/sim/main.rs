//! The pure machines, explored: every interleaving of daemon, shim, keeper and their deaths, up to a bound.
//!
//! Never: a real process; those are in `it`.
#![allow(unreachable_pub, missing_debug_implementations, reason = "a test program has no outside")]

#[cfg(test)]
mod explore;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod node;
#[cfg(test)]
mod pod;
#[cfg(test)]
mod whole;
