//! What is under way: every running procedure and call, the step it is in, since when and what it waits for; and for each
//! object the last things that were done with it.
//!
//! Owns: the one table, in memory only: it says what a person wants to know, nothing is decided by it. Never: waits; ends
//! what takes too long.

mod current;
mod kept;
mod table;
mod words;

#[cfg(test)]
mod tests;

pub use current::{Place, carry, enter, still, still_in, waiting};
pub use kept::{Entry, Object, Past};
pub use table::{About, Now, Operations, StepNow};
