//! The product's own machines, from its own files: what is explored is what runs.
//!
//! Never: a copy.

#[path = "../../daemon/src/container/lifecycle.rs"]
#[allow(dead_code, reason = "the model uses what it needs")]
pub mod container;
#[path = "../../daemon/src/sandbox/lifecycle.rs"]
#[allow(dead_code, reason = "the model uses what it needs")]
pub mod sandbox;
#[path = "../../shim/src/supervise/machine/mod.rs"]
#[allow(dead_code, reason = "the model uses what it needs")]
pub mod shim;

/// The machines of a run: the product's, or broken ones that show that the exploration finds what is wrong.
#[derive(Debug, Clone, Copy)]
pub struct Machines {
    /// The container's, in the daemon.
    pub container: fn(container::State, container::Event) -> (container::State, Vec<container::Effect>),
    /// The container's, in its shim.
    pub shim: fn(shim::State, shim::Event) -> (shim::State, Vec<shim::Effect>),
}

/// Those of the product.
pub const OURS: Machines = Machines { container: container::step, shim: shim_step };

/// The shim's machine, its effects in a list of one's own.
pub fn shim_step(state: shim::State, event: shim::Event) -> (shim::State, Vec<shim::Effect>) {
    let (next, effects) = shim::step(state, event);
    (next, effects.to_vec())
}
