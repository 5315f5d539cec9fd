//! What spans a sandbox and its containers: stop, remove, recovery.
//!
//! Owns: their order. Never: the state of either; it asks their owners.

mod first_process;
mod patience;
mod records;
pub mod recover;
mod remove;
mod stop;

pub use first_process::follow;
pub use remove::remove;
pub use stop::stop;

/// Why a pod could not be stopped or removed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PodError {
    /// Its sandbox.
    #[error(transparent)]
    Sandbox(#[from] crate::sandbox::SandboxError),
    /// One of its containers.
    #[error(transparent)]
    Container(#[from] crate::container::ContainerError),
}
