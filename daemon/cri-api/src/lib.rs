//! Generated gRPC code and nothing else: the CRI that the kubelet speaks, and Taffrail's own control service.
//!
//! Owns: the two proto files under `proto/`. Never: a line of logic; in the daemon only `cri/` and `cli/` may
//! name what is here.

/// The Kubernetes Container Runtime Interface, package `runtime.v1`.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "generated; documented in the proto"
)]
#[allow(warnings, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("runtime.v1");
}

/// Taffrail's own service, package `taffrail.control.v1`.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "generated; documented in the proto"
)]
#[allow(warnings, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated")]
pub mod control {
    tonic::include_proto!("taffrail.control.v1");
}

/// Both files as an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
