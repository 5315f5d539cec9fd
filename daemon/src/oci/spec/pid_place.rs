//! Whose PID namespace a container lands in, from its wish and its pod's.
//!
//! Pure. Owns: which wishes go together. Never: a path.

use super::SpecError;
use crate::{container::PidMode, sandbox::Sharing};

/// Where a container's processes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PidPlace {
    /// A namespace of its own: when its first process ends, the kernel ends the others.
    Own,
    /// The pod's shared one.
    Pod,
    /// That of another container.
    Target,
    /// The host's.
    Host,
}

impl PidPlace {
    /// What a container's mode means in a pod of this one.
    pub fn of(mode: &PidMode, pod: Sharing) -> Result<Self, SpecError> {
        match (mode, pod) {
            (PidMode::Pod | PidMode::Inherit, Sharing::Pod) => Ok(Self::Pod),
            (PidMode::Pod | PidMode::Inherit, Sharing::Node) | (PidMode::Node, _) => Ok(Self::Host),
            (PidMode::Inherit, Sharing::Container) | (PidMode::Container, _) => Ok(Self::Own),
            (PidMode::Pod, Sharing::Container) => Err(SpecError::NoPodPids),
            (PidMode::Target(_), _) => Ok(Self::Target),
        }
    }

    /// Whether the end of the first process leaves the others alive.
    pub fn outlives_init(self) -> bool {
        self != Self::Own
    }
}
