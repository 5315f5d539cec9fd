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
    /// Host ports by sandbox. They are taken until the sandbox is forgotten.
    pub(super) forwards: BTreeMap<String, Vec<Forward>>,
    /// Sandboxes that are being detached: their host ports lead nowhere any more.
    pub(super) leaving: BTreeSet<String>,
    /// Addresses by sandbox.
    pub(super) pods: BTreeMap<String, Vec<IpAddr>>,
}

impl Memory {
    /// The forwards that belong into the firewall table.
    pub(super) fn open_forwards(&self) -> Vec<Forward> {
        let open = self.forwards.iter().filter(|(id, _)| !self.leaving.contains(*id));
        open.flat_map(|(_, forwards)| forwards).cloned().collect()
    }

    /// Lets go of all that a sandbox holds.
    pub(super) fn forget(&mut self, id: &str) {
        self.pools.iter_mut().for_each(|pool| pool.give_back(id));
        self.forwards.remove(id);
        self.leaving.remove(id);
        self.pods.remove(id);
    }

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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::Memory;
    use crate::{
        network::bridge::firewall::forwards,
        sandbox::{PortMapping, Protocol},
    };

    #[test]
    fn a_pod_that_leaves_has_its_ports_and_no_way_to_them() {
        let port = PortMapping { protocol: Protocol::Tcp, host_port: 80, container_port: 80, host_ip: None };
        let of_a = forwards(std::slice::from_ref(&port), &["10.0.0.2".parse().unwrap()]);
        let mut memory = Memory {
            pools: Vec::new(),
            subnets: BTreeSet::new(),
            forwards: BTreeMap::from([("a".to_owned(), of_a.clone())]),
            leaving: BTreeSet::new(),
            pods: BTreeMap::new(),
        };
        assert_eq!(memory.open_forwards(), of_a);
        memory.leaving.insert("a".to_owned());
        assert_eq!(memory.open_forwards(), []);
        assert!(memory.conflict("b", &port).is_some(), "its elements may still be there");
        memory.forget("a");
        assert!(memory.conflict("b", &port).is_none() && memory.leaving.is_empty());
    }
}
