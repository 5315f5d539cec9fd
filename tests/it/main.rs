//! Tests of the real binaries through their real doors, one module for each feature.
//!
//! Never: a fake where the host has the real thing.
#![allow(unreachable_pub, missing_debug_implementations, reason = "a test program has no outside")]

#[cfg(test)]
mod adopt;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod cni;
#[cfg(test)]
mod cni_crash;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod crictl;
#[cfg(test)]
mod critest;
#[cfg(test)]
mod cycles;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod descriptors;
#[cfg(test)]
mod events;
#[cfg(test)]
mod exec;
// The daemon's own socket, so that the shim meets what it will meet; a crate for one file is not worth it.
#[cfg(test)]
#[path = "../../daemon/src/sys/fd_socket.rs"]
mod fd_socket;
#[cfg(test)]
mod full;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod full_state;
#[cfg(test)]
mod hostile_images;
#[cfg(test)]
mod hostile_registries;
#[cfg(test)]
mod idle;
#[cfg(test)]
mod keeper;
#[cfg(test)]
mod keeper_log;
#[cfg(test)]
mod kubelet;
#[cfg(test)]
mod kubelet_model;
#[cfg(test)]
mod leak_kinds;
#[cfg(test)]
mod leaks;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod limits_;
#[cfg(test)]
mod mounts;
#[cfg(test)]
mod network;
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's tasks end with its executor")]
mod parenthood;
#[cfg(test)]
mod pids;
#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod pull;
#[cfg(test)]
mod reboot;
#[cfg(test)]
mod registry_credentials;
#[cfg(test)]
mod security;
#[cfg(test)]
mod shim_birth;
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's tasks end with its executor")]
mod shim_idle;
#[cfg(test)]
mod shim_pin;
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's tasks end with its executor")]
mod shim_runc;
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's tasks end with its executor")]
mod shim_under_test;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod stats;
#[cfg(test)]
mod steps;
#[cfg(test)]
mod stuck;
#[cfg(test)]
mod stuck_things;
#[cfg(test)]
mod survive;
#[cfg(test)]
mod unkept;
#[cfg(test)]
mod unpack;
#[cfg(test)]
mod update;
#[cfg(test)]
mod users;
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test's tasks end with its executor")]
mod wire;
