//! The links of the built-in network: the bridge, a pair of links for each pod, addresses, routes.
//!
//! Each is known by a name that is computed before it is made. Owns: the kernel's messages for them (rtnetlink(7)).
//! Never: chooses an address.

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::AsRawFd,
};

pub(super) use crate::sys::netlink::link_up as up;
use crate::sys::netlink::{Message, Netlink, attributes, flags};

/// Name of a pod's link inside.
pub(super) const INSIDE: &str = "eth0";

// linux/rtnetlink.h
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
// linux/if_link.h
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
/// A link without an address of its own (IN6_ADDR_GEN_MODE_NONE).
const NO_ADDRESS: u8 = 1;
const VETH_INFO_PEER: u16 = 1;
const NESTED: u16 = 0x8000;
// linux/if_addr.h
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// No wait for another host with the same address: we give out each once.
const IFA_F_NODAD: u8 = 0x02;
// linux/rtnetlink.h
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;
// linux/if.h, linux/socket.h
const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const AF_BRIDGE: u8 = 7;

/// First bytes of a link's address: locally administered, the rest is the pod's IPv4 address, so that an address that
/// goes to another pod keeps its neighbours' tables right.
const MAC_PREFIX: [u8; 2] = [0x0a, 0x74];

/// A link as the kernel has it.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    index: u32,
    kind: String,
}

/// `struct ifinfomsg`.
fn ifinfo(family: u8, index: u32, up: bool) -> [u8; 16] {
    let mut body = [0; 16];
    body[0] = family;
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    if up {
        body[8..12].copy_from_slice(&IFF_UP.to_ne_bytes());
        body[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
    }
    body
}

fn find(netlink: &mut Netlink, name: &str) -> io::Result<Option<Link>> {
    let message = Message::new(RTM_GETLINK, 0, &ifinfo(0, 0, false)).text(IFLA_IFNAME, name);
    let answers = match netlink.ask(message) {
        Err(e) if is_gone(&e) => return Ok(None),
        answers => answers?,
    };
    Ok(answers.iter().find(|(kind, _)| *kind == RTM_NEWLINK).and_then(|(_, body)| {
        let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
        let attributes = attributes(body.get(16..)?);
        let info = attributes.iter().find(|(kind, _)| *kind == IFLA_LINKINFO).map(|(_, value)| *value);
        let kind = info.map(self::attributes).unwrap_or_default().into_iter();
        let kind = kind.filter(|(kind, _)| *kind == IFLA_INFO_KIND).map(|(_, value)| text(value)).next();
        Some(Link { index, kind: kind.unwrap_or_default() })
    }))
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

fn is_gone(error: &io::Error) -> bool {
    [libc::ENODEV, libc::ENOENT, libc::ESRCH].iter().any(|code| error.raw_os_error() == Some(*code))
}

fn is_there(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EEXIST)
}

/// Makes the bridge, or finds it; up either way. Its index.
pub(super) fn bridge(netlink: &mut Netlink, name: &str, mac: [u8; 6]) -> io::Result<u32> {
    let make = Message::new(RTM_NEWLINK, flags::CREATE | flags::EXCLUSIVE, &ifinfo(0, 0, true))
        .text(IFLA_IFNAME, name)
        // One that is set stays; else it is the least of its ports', and changes as pods come and go.
        .attribute(IFLA_ADDRESS, &mac)
        .nested(IFLA_LINKINFO, &[], |info| info.text(IFLA_INFO_KIND, "bridge"));
    match netlink.ask(make) {
        Err(e) if !is_there(&e) => return Err(e),
        _ => {}
    }
    match find(netlink, name)? {
        Some(Link { index, kind }) if kind == "bridge" => {
            up(netlink, index)?;
            Ok(index)
        }
        Some(Link { kind, .. }) => {
            let what = if kind.is_empty() { "no bridge" } else { &kind };
            Err(io::Error::other(format!("the link {name} is there and is {what}; set bridge.name")))
        }
        None => Err(io::Error::other(format!("the link {name} went away as it was made"))),
    }
}

/// Makes a pod's pair: `outside` is a port of the bridge, [`INSIDE`] is in the pod and not up yet. One that is there
/// from a try that was cut short is taken away first. `mtu`: the largest packet, where it is not the kernel's usual.
pub(super) fn pair(
    netlink: &mut Netlink,
    outside: &str,
    bridge: u32,
    pod: &File,
    mac: [u8; 6],
    mtu: Option<u32>,
) -> io::Result<()> {
    let with_mtu = |link: Message| match mtu {
        Some(mtu) => link.attribute(IFLA_MTU, &mtu.to_ne_bytes()),
        None => link,
    };
    let number = pod.as_raw_fd().cast_unsigned().to_ne_bytes();
    let make = || {
        let outer = Message::new(RTM_NEWLINK, flags::CREATE | flags::EXCLUSIVE, &ifinfo(0, 0, false))
            .text(IFLA_IFNAME, outside)
            .attribute(IFLA_MASTER, &bridge.to_ne_bytes());
        with_mtu(outer).nested(IFLA_LINKINFO, &[], |info| {
            info.text(IFLA_INFO_KIND, "veth").nested(IFLA_INFO_DATA, &[], |data| {
                data.nested(VETH_INFO_PEER, &ifinfo(0, 0, false), |peer| {
                    with_mtu(peer.text(IFLA_IFNAME, INSIDE))
                        .attribute(IFLA_ADDRESS, &mac)
                        .attribute(IFLA_NET_NS_FD, &number)
                })
            })
        })
    };
    match netlink.ask(make()) {
        Err(e) if is_there(&e) => {
            remove(netlink, outside)?;
            netlink.ask(make())?;
        }
        done => drop(done?),
    }
    let port = netlink.index_of(outside)?;
    // A pod that reaches itself through a host port: its own packets come back through the same port.
    let hairpin = Message::new(RTM_SETLINK, 0, &ifinfo(AF_BRIDGE, port, false)).nested(
        IFLA_PROTINFO | NESTED,
        &[],
        |info| info.attribute(IFLA_BRPORT_MODE, &[1]),
    );
    netlink.ask(hairpin)?;
    // A port has no use for an address, and each would be announced and looked for.
    let bare = Message::new(RTM_SETLINK, 0, &ifinfo(0, port, false)).nested(IFLA_AF_SPEC, &[], |spec| {
        spec.nested(u16::from(AF_INET6), &[], |six| six.attribute(IFLA_INET6_ADDR_GEN_MODE, &[NO_ADDRESS]))
    });
    // A kernel without IPv6 has no word for it.
    netlink.ask(bare).ok();
    up(netlink, port)
}

/// Removes a link. Finds it gone: fine.
pub(super) fn remove(netlink: &mut Netlink, name: &str) -> io::Result<()> {
    let message = Message::new(RTM_DELLINK, 0, &ifinfo(0, 0, false)).text(IFLA_IFNAME, name);
    match netlink.ask(message) {
        Err(e) if !is_gone(&e) => Err(e),
        _ => Ok(()),
    }
}

/// An address as bytes, with its family.
fn bytes(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    }
}

/// Gives a link an address. It has it: fine.
pub(super) fn add_address(netlink: &mut Netlink, link: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
    let (family, value) = bytes(address);
    // struct ifaddrmsg: family, prefix, flags, scope (0: everywhere), link
    let mut body = vec![family, prefix, IFA_F_NODAD, 0];
    body.extend_from_slice(&link.to_ne_bytes());
    let message =
        Message::new(RTM_NEWADDR, flags::CREATE | flags::REPLACE, &body).attribute(IFA_ADDRESS, &value);
    let message = if family == AF_INET { message.attribute(IFA_LOCAL, &value) } else { message };
    netlink.ask(message).map(drop)
}

/// Takes those addresses from a link that are not to be kept. Link-local ones are the kernel's.
pub(super) fn keep_addresses(
    netlink: &mut Netlink,
    link: u32,
    keep: impl Fn(IpAddr) -> bool,
) -> io::Result<()> {
    for family in [AF_INET, AF_INET6] {
        let list = Message::new(RTM_GETADDR, flags::DUMP, &[family, 0, 0, 0, 0, 0, 0, 0]);
        for (_, body) in netlink.ask(list)? {
            let Some((head, rest)) = body.split_at_checked(8) else { continue };
            let value =
                attributes(rest).into_iter().find(|(kind, _)| *kind == IFA_ADDRESS).map(|(_, value)| value);
            let address = value.and_then(|value| address(family, value));
            let foreign = address.is_some_and(|address| !keep(address) && !is_link_local(address));
            if head[4..8] == link.to_ne_bytes() && foreign {
                let remove =
                    Message::new(RTM_DELADDR, 0, head).attribute(IFA_ADDRESS, value.unwrap_or_default());
                netlink.ask(remove.attribute(IFA_LOCAL, value.unwrap_or_default()))?;
            }
        }
    }
    Ok(())
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// An address of this family from its bytes.
fn address(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    }
}

/// Everything that is not in a pod's own subnet goes to the gateway.
pub(super) fn default_route(netlink: &mut Netlink, link: u32, gateway: IpAddr) -> io::Result<()> {
    let (family, value) = bytes(gateway);
    // struct rtmsg: family, lengths of destination and source, tos, table, protocol, scope, kind, flags
    let body = [family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0];
    let message = Message::new(RTM_NEWROUTE, flags::CREATE | flags::REPLACE, &body)
        .attribute(RTA_GATEWAY, &value)
        .attribute(RTA_OIF, &link.to_ne_bytes());
    netlink.ask(message).map(drop)
}

/// The routes of the main table: destination, length of its prefix, link.
pub(super) fn routes(netlink: &mut Netlink) -> io::Result<Vec<(IpAddr, u8, u32)>> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let mut body = [0; 12];
        body[0] = family;
        for (_, body) in netlink.ask(Message::new(RTM_GETROUTE, flags::DUMP, &body))? {
            found.extend(route(&body));
        }
    }
    Ok(found)
}

fn route(body: &[u8]) -> Option<(IpAddr, u8, u32)> {
    let (head, rest) = body.split_at_checked(12)?;
    if head[4] != RT_TABLE_MAIN || head[7] != RTN_UNICAST {
        return None;
    }
    let attributes = attributes(rest);
    let value = |wanted: u16| attributes.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    let link = number(value(RTA_OIF)?)?;
    Some((address(head[0], value(RTA_DST)?)?, head[1], link))
}

/// Largest packet that passes by the host's default route, in bytes; `None`: there is no such route.
pub(super) fn uplink_mtu(netlink: &mut Netlink) -> io::Result<Option<u32>> {
    let mut least = None;
    for family in [AF_INET, AF_INET6] {
        let mut body = [0; 12];
        body[0] = family;
        for (_, body) in netlink.ask(Message::new(RTM_GETROUTE, flags::DUMP, &body))? {
            let Some(link) = default_link(&body) else { continue };
            for (_, body) in netlink.ask(Message::new(RTM_GETLINK, 0, &ifinfo(0, link, false)))? {
                let found = attributes(body.get(16..).unwrap_or_default());
                let mtu =
                    found.iter().find(|(kind, _)| *kind == IFLA_MTU).and_then(|(_, value)| number(value));
                least = least.into_iter().chain(mtu).min();
            }
        }
    }
    Ok(least)
}

/// The link of a default route of the main table.
fn default_link(body: &[u8]) -> Option<u32> {
    let (head, rest) = body.split_at_checked(12)?;
    if head[4] != RT_TABLE_MAIN || head[7] != RTN_UNICAST || head[1] != 0 {
        return None;
    }
    let attributes = attributes(rest);
    number(attributes.iter().find(|(kind, _)| *kind == RTA_OIF)?.1)
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

/// The link address of a pod.
pub(super) fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [MAC_PREFIX[0], MAC_PREFIX[1], a, b, c, d]
}
