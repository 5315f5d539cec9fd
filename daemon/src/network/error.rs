//! What can go wrong with a pod's network, in words for its user.
//!
//! Never: a gRPC code.

use std::net::IpAddr;

use crate::steps::CanFail;

/// Why a pod could not be attached or detached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// No pod can be attached now.
    #[error("the network is not ready: {0}")]
    NotReady(String),
    /// The record cannot be read or written.
    #[error("the record of the network attachment {path}: {message}")]
    Record {
        /// The file.
        path: String,
        /// Why.
        message: String,
    },
    /// A record of a driver or a version that this program does not know.
    #[error("the network attachment was made by {0}, which this program does not know")]
    Unknown(String),
    /// The subnet is used up.
    #[error("no address is free in {0}; set bridge.subnet to a larger one, or remove pods")]
    NoAddress(String),
    /// Another pod, or the host, has the port.
    #[error("host port {protocol} {port} at {address} is taken by {holder}")]
    PortTaken {
        /// TCP, UDP, SCTP.
        protocol: &'static str,
        /// The port.
        port: u16,
        /// Where; unspecified: everywhere.
        address: IpAddr,
        /// The other one.
        holder: String,
    },
    /// Host ports cannot be had.
    #[error(
        "host ports need the program nft, which is not installed: install nftables, or use CNI with portmap"
    )]
    NoFirewall,
    /// The kernel, or the firewall, refused a step.
    #[error("{what}: {message}")]
    Step {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        message: String,
    },
    /// A CNI plugin failed.
    #[error("CNI plugin {plugin} ({command}, network {network}): {message}")]
    Plugin {
        /// Its type.
        plugin: String,
        /// ADD, DEL, CHECK.
        command: &'static str,
        /// Name of the network.
        network: String,
        /// In the plugin's words, or what became of it.
        message: String,
    },
    /// A CNI configuration that cannot be used.
    #[error("CNI configuration {0}")]
    Config(String),
    /// An annotation of the pod.
    #[error("annotation {key} {value:?}: {why}")]
    Annotation {
        /// Its key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl<T> CanFail for Result<T, NetworkError> {
    fn failed(why: String) -> Self {
        Err(NetworkError::at("a step of the network", why))
    }
}

impl NetworkError {
    /// A step's failure.
    pub(super) fn at(what: &'static str, error: impl ToString) -> Self {
        Self::Step { what, message: error.to_string() }
    }
}
