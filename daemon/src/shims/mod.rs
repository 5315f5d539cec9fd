//! Shims as the daemon sees them: newborn ones, the conversation with one, and what is left of a dead one.
//!
//! Only this module and the shim know the wire. Owns: starting and reaching shims. Never: what a container is;
//! pids are shown, never signalled, but for a shim that must go.

mod hand_over;
mod inspect;
mod keeper;
mod launch;
mod link;
mod orphaned_commands;
mod strays;

pub use inspect::{Condition, dismiss_by_force, inspect, read_exit_record};
pub use launch::{Newborn, Shims, pin_namespaces, start_init};
pub use link::{LinkError, ShimLink};
pub use orphaned_commands::end_orphaned_commands;
pub use strays::{Stray, end_strays};
