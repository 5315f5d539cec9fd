//! What is made in the kernel for all pods, and for one.
//!
//! Owns: the order of the kernel's messages. Never: what a pod is given; it is told.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{host, links};
use crate::{
    network::Subnet,
    sandbox::PortMapping,
    sys::netlink::{self, Netlink},
};

/// A pod's address and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Given {
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
    pub(super) gateway: IpAddr,
}

/// The driver's own part of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Detail {
    /// The pod's link on the host.
    pub(super) link: String,
    pub(super) given: Vec<Given>,
    pub(super) ports: Vec<PortMapping>,
}

/// The host's end of a pod's pair of links: at most 15 letters, the pod's alone.
pub(super) fn outside(id: &str) -> String {
    /// Letters of the id in it: 52 bits of chance.
    const LETTERS: usize = 13;
    format!("tf{}", id.get(..LETTERS).unwrap_or(id))
}

/// Makes the bridge or finds it. `is_ours`: addresses that are not the ranges' do not belong there.
pub(super) fn make_bridge(
    name: &str,
    subnets: &[Subnet],
    ranges: &BTreeSet<Subnet>,
    is_ours: bool,
) -> io::Result<u32> {
    let mut netlink = Netlink::open()?;
    let gateway = subnets.iter().map(Subnet::gateway).find_map(|gateway| match gateway {
        IpAddr::V4(gateway) => Some(gateway),
        IpAddr::V6(_) => None,
    });
    let mac = links::mac(gateway.unwrap_or(Ipv4Addr::UNSPECIFIED));
    let index = links::bridge(&mut netlink, name, mac)?;
    for subnet in ranges {
        links::add_address(&mut netlink, index, subnet.gateway(), subnet.prefix())?;
    }
    if is_ours {
        let gateways: Vec<IpAddr> = ranges.iter().map(Subnet::gateway).collect();
        links::keep_addresses(&mut netlink, index, |address| gateways.contains(&address))?;
    }
    if subnets.iter().any(Subnet::is_ipv4) {
        host::allow_ipv4(name)?;
    }
    if subnets.iter().any(|subnet| !subnet.is_ipv4()) {
        host::allow_ipv6()?;
    }
    Ok(index)
}

/// Makes a pod's links, addresses and routes.
pub(super) fn make_links(bridge: u32, pin: &Path, detail: &Detail) -> io::Result<()> {
    let namespace = netlink::namespace(pin)?;
    let first = detail.given.iter().find_map(|given| match given.address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    // Without an IPv4 address: the kernel's own choice would do, but one that is known is easier to find.
    let mac = links::mac(first.unwrap_or(Ipv4Addr::BROADCAST));
    let about = |what: &str| {
        let what = what.to_owned();
        move |e: io::Error| io::Error::new(e.kind(), format!("{what}: {e}"))
    };
    let mut outside = Netlink::open()?;
    let mtu = links::uplink_mtu(&mut outside)?;
    links::pair(&mut outside, &detail.link, bridge, &namespace, mac, mtu).map_err(about(&detail.link))?;
    let mut inside = Netlink::open_in(pin).map_err(about("the way into its namespace"))?;
    let index = inside.index_of(links::INSIDE)?;
    links::up(&mut inside, index)?;
    for given in &detail.given {
        let (address, gateway) = (given.address, given.gateway);
        let shown = format!("address {address}");
        links::add_address(&mut inside, index, address, given.prefix).map_err(about(&shown))?;
        let shown = format!("route through {gateway}");
        links::default_route(&mut inside, index, gateway).map_err(about(&shown))?;
    }
    Ok(())
}
