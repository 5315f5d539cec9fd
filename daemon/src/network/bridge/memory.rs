//! What memory holds of all pods: their addresses and host ports. All of it follows from the settings and the records.
//!
//! Owns: the choice of what a pod is given. Never: makes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
};

use super::{firewall::Forward, host, pool::Pool};
use crate::{
    network::Subnet,
    sandbox::{PortMapping, Protocol},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) pools: Vec<Pool>,
    /// Ranges that pods still have addresses in.
    pub(super) subnets: BTreeSet<Subnet>,
    pub(super) forwards: BTreeMap<String, Vec<Forward>>,
    /// Addresses by sandbox.
    pub(super) pods: BTreeMap<String, Vec<IpAddr>>,
}

impl Memory {
    /// Who else has one of these ports.
    pub(super) fn conflict(&self, id: &str, port: &PortMapping) -> Option<String> {
        let others = self.forwards.iter().filter(|(holder, _)| *holder != id);
        let mut taken = others.flat_map(|(holder, list)| list.iter().map(move |f| (holder, &f.port)));
        taken.find(|(_, other)| other.meets(port)).map(|(holder, _)| format!("sandbox {holder}"))
    }
}

/// Pools of those ranges whose family the host has.
pub(super) fn pools(subnets: &[Subnet]) -> Vec<Pool> {
    let wanted = subnets.iter().filter(|subnet| subnet.is_ipv4() || host::has_ipv6());
    wanted.copied().map(Pool::new).collect()
}

/// A process of the host that listens there would not be reached any more.
pub(super) fn is_free_on_host(port: &PortMapping) -> bool {
    let at = port.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let busy = |e: std::io::Error| e.kind() == std::io::ErrorKind::AddrInUse;
    match port.protocol {
        Protocol::Tcp => !TcpListener::bind((at, port.host_port)).is_err_and(busy),
        Protocol::Udp => !UdpSocket::bind((at, port.host_port)).is_err_and(busy),
        Protocol::Sctp => true,
    }
}
