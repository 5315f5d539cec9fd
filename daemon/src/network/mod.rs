//! Pods' networks: CNI where a configuration of it is there, else the built-in bridge.
//!
//! Owns: attachments, host ports, a pod's files about its network. Never: the world; a pod's namespaces, which are the
//! sandbox's.

mod bridge;
mod cni;
mod driver;
mod error;
mod files;
mod networks;
mod program;
mod record;
mod subnet;
#[cfg(test)]
mod tests;

pub use bridge::{Bridge, BridgeSettings};
pub use cni::{Cni, CniSettings};
pub use driver::{Network, NotReady, Pod, Work};
pub use error::NetworkError;
pub use files::{hostname, hosts, resolv_conf};
pub use networks::Networks;
pub use record::{RECORD_VERSION, Record};
pub use subnet::{BadSubnet, Subnet};
