//! Flows of datagrams that the kernel remembers: one that began before a host port led to a pod, or while it led to
//! another, would go on as it began. TCP ends by itself; UDP goes on for as long as somebody sends.
//!
//! Owns: the kernel's messages about them (linux/netfilter/nfnetlink_conntrack.h). Never: touches a flow of others.

use std::{
    io,
    net::{IpAddr, UdpSocket},
};

use super::firewall::Forward;
use crate::sys::netlink::{Message, Netlink, attributes, flags};

// Kinds: the subsystem in the upper byte (NFNL_SUBSYS_CTNETLINK), the command in the lower.
const GET: u16 = 0x0101;
const DELETE: u16 = 0x0102;

// Attributes.
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const NESTED: u16 = 0x8000;

// linux/in.h, linux/socket.h
const UDP: u8 = 17;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// One direction of a flow.
#[derive(Debug, PartialEq, Eq)]
struct Direction {
    from: Option<IpAddr>,
    to: Option<IpAddr>,
    protocol: Option<u8>,
    to_port: Option<u16>,
}

/// Lets the kernel forget flows of datagrams to these host ports at this host's addresses, and those that a pod of these
/// addresses answers. How many.
pub(super) fn forget(forwards: &[Forward]) -> io::Result<usize> {
    let mut netlink = Netlink::open_filter()?;
    let mut count = 0;
    for family in [AF_INET, AF_INET6] {
        // struct nfgenmsg: family, version, resource
        let head = [family, 0, 0, 0];
        for (_, body) in netlink.ask(Message::new(GET, flags::DUMP, &head))? {
            let found = attributes(body.get(head.len()..).unwrap_or_default());
            let value = |wanted| found.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
            let (Some(original), Some(reply)) = (value(CTA_TUPLE_ORIG), value(CTA_TUPLE_REPLY)) else {
                continue;
            };
            if is_ours(&direction(original), &direction(reply), forwards, is_of_host) {
                let message = Message::new(DELETE, 0, &head).attribute(CTA_TUPLE_ORIG | NESTED, original);
                match netlink.ask(message) {
                    // It ended meanwhile.
                    Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
                    done => drop(done?),
                }
                count += 1;
            }
        }
    }
    Ok(count)
}

/// Whether a flow is one of datagrams that the host ports decide about. One that only passes through the host to a port
/// of the same number elsewhere is not.
fn is_ours(
    there: &Direction,
    back: &Direction,
    forwards: &[Forward],
    is_of_host: impl Fn(IpAddr) -> bool,
) -> bool {
    let leads_there = |to: IpAddr, port: u16| {
        let fits = |forward: &Forward| {
            forward.port.host_port == port
                && forward.to.is_ipv4() == to.is_ipv4()
                && forward.only_at().is_none_or(|at| at == to)
        };
        forwards.iter().any(fits) && is_of_host(to)
    };
    let is_answered = back.from.is_some_and(|from| forwards.iter().any(|forward| forward.to == from));
    let is_led = there.to.zip(there.to_port).is_some_and(|(to, port)| leads_there(to, port));
    there.protocol == Some(UDP) && (is_answered || is_led)
}

/// Whether packets to this address end at this host: only to such an address can a socket be bound. That of one link
/// alone (fe80::/10), which needs the link's name for it, never is another host's behind this one.
fn is_of_host(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(six) if six.is_unicast_link_local()) || UdpSocket::bind((address, 0)).is_ok()
}

fn direction(tuple: &[u8]) -> Direction {
    let parts = attributes(tuple);
    let part = |wanted| parts.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| attributes(value));
    let (address, protocol) = (part(CTA_TUPLE_IP), part(CTA_TUPLE_PROTO));
    let address = address.unwrap_or_default();
    let end = |four: u16, six: u16| {
        address.iter().find_map(|(kind, value)| match *kind {
            kind if kind == four => Some(IpAddr::from(<[u8; 4]>::try_from(*value).ok()?)),
            kind if kind == six => Some(IpAddr::from(<[u8; 16]>::try_from(*value).ok()?)),
            _ => None,
        })
    };
    let protocol = protocol.unwrap_or_default();
    let value = |wanted| protocol.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    Direction {
        from: end(CTA_IP_V4_SRC, CTA_IP_V6_SRC),
        to: end(CTA_IP_V4_DST, CTA_IP_V6_DST),
        protocol: value(CTA_PROTO_NUM).and_then(|value| value.first().copied()),
        to_port: value(CTA_PROTO_DST_PORT).and_then(|value| value.try_into().ok()).map(u16::from_be_bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{Direction, UDP, is_of_host, is_ours};
    use crate::{
        network::bridge::firewall::{Forward, forwards},
        sandbox::{PortMapping, Protocol},
    };

    fn open(host_ip: Option<&str>) -> Vec<Forward> {
        let host_ip = host_ip.map(|at| at.parse().unwrap());
        let port = PortMapping { protocol: Protocol::Udp, host_port: 53, container_port: 5353, host_ip };
        forwards(&[port], &["10.86.0.2".parse().unwrap()])
    }

    /// A flow of datagrams to port 53 there, answered from the other address.
    fn decided(forwards: &[Forward], to: &str, answered_from: &str) -> bool {
        let address = |text: &str| -> Option<IpAddr> { Some(text.parse().unwrap()) };
        let there = Direction { from: None, to: address(to), protocol: Some(UDP), to_port: Some(53) };
        let back = Direction { from: address(answered_from), to: None, protocol: Some(UDP), to_port: None };
        let host: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        is_ours(&there, &back, forwards, |at| host.contains(&at))
    }

    #[test]
    fn only_flows_that_a_host_port_decides_about_are_forgotten() {
        let all = open(None);
        assert!(decided(&all, "192.0.2.1", "192.0.2.1"), "it began before there was a pod");
        assert!(decided(&all, "192.0.2.1", "10.86.0.9"), "it leads to the pod of before");
        assert!(
            decided(&all, "192.0.2.7", "10.86.0.2"),
            "the pod answers it, whatever the host's address was"
        );
        assert!(!decided(&all, "198.51.100.53", "198.51.100.53"), "a pod asks a name server elsewhere");
        assert!(!decided(&all, "2001:db8::1", "2001:db8::1"), "no pod of this family");
        assert!(!decided(&open(Some("192.0.2.9")), "192.0.2.1", "192.0.2.1"), "the port of another address");
    }

    #[test]
    fn the_hosts_own_addresses_are_known() {
        assert!(is_of_host("127.0.0.1".parse().unwrap()));
        assert!(!is_of_host("198.51.100.53".parse().unwrap()));
    }
}
