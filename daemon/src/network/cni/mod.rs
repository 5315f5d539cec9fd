//! CNI: what a node's network plugins are told, and what is made of their answers (CNI specification 0.4.0 to 1.1.0).
//!
//! Everything that a plugin or a configuration says is untrusted. Owns: the calls of plugins. Never: a link.

mod bandwidth;
mod call;
mod capabilities;
mod chain;
mod conflist;
mod driver;
mod result;

pub use driver::{Cni, CniSettings};
