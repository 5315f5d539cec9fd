//! What may cross between daemon and shim, and nothing else: the wire's messages, the records that both read,
//! checked ids, and every file name inside a run directory.
//!
//! Owns: names and formats. Never: opens a file or a socket (but for failpoints, in builds for tests), looks at a
//! clock, starts a thread.

pub mod exit_record;
#[cfg(feature = "failpoints")]
pub mod failpoint;
pub mod ids;
pub mod keeperdir;
pub mod limits;
pub mod record;
pub mod rundir;
pub mod status_record;
pub mod version;
pub mod zombie;

/// The messages of `proto/shim.proto`.
#[allow(missing_docs, unreachable_pub, reason = "generated; its documentation stands in the proto file")]
#[allow(warnings, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated")]
pub mod shim {
    include!(concat!(env!("OUT_DIR"), "/sync/shim.rs"));
}

/// The packets of `proto/keeper.proto`.
#[allow(missing_docs, unreachable_pub, reason = "generated; its documentation stands in the proto file")]
#[allow(warnings, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated")]
pub mod keeper {
    include!(concat!(env!("OUT_DIR"), "/sync/keeper.rs"));
}

/// The daemon's side of the wire: an async client.
#[cfg(feature = "client")]
#[allow(missing_docs, missing_debug_implementations, unreachable_pub, reason = "generated")]
#[allow(warnings, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated")]
pub mod client {
    use super::shim;
    include!(concat!(env!("OUT_DIR"), "/async/shim_ttrpc.rs"));
}

/// The shim's side of the wire: the service trait and its method table, driven by the shim's own loop.
#[cfg(feature = "server")]
#[allow(missing_docs, missing_debug_implementations, unreachable_pub, reason = "generated")]
#[allow(warnings, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated")]
pub mod server {
    use super::shim;
    include!(concat!(env!("OUT_DIR"), "/sync/shim_ttrpc.rs"));
}
