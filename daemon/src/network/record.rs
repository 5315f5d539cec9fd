//! What is remembered of a pod's attachment to a network: on disk before anything of it is made (I3), so that whoever
//! finds it can take it apart.
//!
//! Owns: the form. Never: what a driver keeps in its own part.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Version of the record's form. A reader refuses a higher one.
pub const RECORD_VERSION: u32 = 1;

/// A pod's attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`RECORD_VERSION`] of the writer.
    pub version: u32,
    /// Name of the driver that made it, and alone can take it apart.
    pub driver: String,
    /// The boot in which it was made.
    pub boot_id: String,
    /// The pod's addresses, the primary first.
    pub addresses: Vec<IpAddr>,
    /// The driver's own part.
    pub detail: serde_json::Value,
}
