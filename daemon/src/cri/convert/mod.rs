//! Between the kubelet's protobuf and the domain's words. Pure; what is asked for is checked here and only here.
//!
//! Until a field is supported, a value of it that changes anything is refused by name. Never: looks anything up.

mod auth;
mod checks;
mod container;
mod ports;
mod resources;
mod sandbox;
mod security;
mod stats;
mod status;
mod sysctls;

pub(super) use auth::credentials;
pub(super) use checks::{fits_labels, required};
pub(super) use container::container_config;
pub(super) use resources::resources;
pub(super) use sandbox::sandbox_config;
pub(super) use stats::{container_stats, pod_sandbox_stats};
pub(super) use status::{
    container_item, container_state, container_status, image, pod_sandbox, pod_sandbox_status, sandbox_state,
};

#[cfg(test)]
mod tests;
