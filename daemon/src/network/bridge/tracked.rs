//! Flows of datagrams that the kernel remembers: one that began before a host port led to a pod, or while it led to
//! another, would go on as it began. TCP ends by itself; UDP goes on for as long as somebody sends.
//!
//! Owns: the kernel's messages about them (linux/netfilter/nfnetlink_conntrack.h). Never: touches a flow of others.

use std::{io, net::IpAddr};

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
const CTA_IP_V6_SRC: u16 = 3;
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
    protocol: Option<u8>,
    to_port: Option<u16>,
}

/// Lets the kernel forget flows of datagrams to these host ports, and those that a pod of these addresses answers.
/// How many.
pub(super) fn forget(ports: &[u16], pods: &[IpAddr]) -> io::Result<usize> {
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
            let (there, back) = (direction(original), direction(reply));
            let is_ours = there.to_port.is_some_and(|port| ports.contains(&port))
                || back.from.is_some_and(|from| pods.contains(&from));
            if there.protocol == Some(UDP) && is_ours {
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

fn direction(tuple: &[u8]) -> Direction {
    let parts = attributes(tuple);
    let part = |wanted| parts.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| attributes(value));
    let (address, protocol) = (part(CTA_TUPLE_IP), part(CTA_TUPLE_PROTO));
    let from = address.unwrap_or_default().into_iter().find_map(|(kind, value)| match kind {
        CTA_IP_V4_SRC => Some(IpAddr::from(<[u8; 4]>::try_from(value).ok()?)),
        CTA_IP_V6_SRC => Some(IpAddr::from(<[u8; 16]>::try_from(value).ok()?)),
        _ => None,
    });
    let protocol = protocol.unwrap_or_default();
    let value = |wanted| protocol.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    Direction {
        from,
        protocol: value(CTA_PROTO_NUM).and_then(|value| value.first().copied()),
        to_port: value(CTA_PROTO_DST_PORT).and_then(|value| value.try_into().ok()).map(u16::from_be_bytes),
    }
}
