//! The built-in network: one bridge, a pair of links for each pod, addresses from the pods' own records, a firewall
//! table where `nft` is there.
//!
//! Owns: what is made on the host for it. Never: another program's links or tables.

mod driver;
mod firewall;
mod host;
mod links;
mod make;
mod memory;
mod pool;
mod tracked;

pub use driver::{Bridge, BridgeSettings};
