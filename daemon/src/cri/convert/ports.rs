//! A pod's ports on the host, checked.
//!
//! Never: whether a port is free; the network knows.

use cri_api::v1;
use tonic::Status;

use crate::{
    cri::error::invalid,
    limits::PORTS_MAX,
    sandbox::{PortMapping, Protocol},
};

/// The ports that are published; one without a host port is only a note.
pub(super) fn ports(mappings: &[v1::PortMapping]) -> Result<Vec<PortMapping>, Status> {
    let field = "config.port_mappings";
    if mappings.len() > PORTS_MAX {
        return Err(invalid(format!("{field} has more than {PORTS_MAX} entries")));
    }
    let mut ports: Vec<PortMapping> = Vec::new();
    for mapping in mappings.iter().filter(|mapping| mapping.host_port != 0) {
        let number = |value: i32, name: &str| match u16::try_from(value) {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(invalid(format!("{field}.{name} {value} is no port"))),
        };
        let port = PortMapping {
            protocol: match v1::Protocol::try_from(mapping.protocol) {
                Ok(v1::Protocol::Tcp) => Protocol::Tcp,
                Ok(v1::Protocol::Udp) => Protocol::Udp,
                Ok(v1::Protocol::Sctp) => Protocol::Sctp,
                Err(_) => return Err(invalid(format!("{field}.protocol {} is not known", mapping.protocol))),
            },
            host_port: number(mapping.host_port, "host_port")?,
            container_port: number(mapping.container_port, "container_port")?,
            host_ip: match mapping.host_ip.as_str() {
                "" => None,
                text => Some(
                    text.parse().map_err(|_| invalid(format!("{field}.host_ip {text:?} is no address")))?,
                ),
            },
        };
        if let Some(other) = ports.iter().find(|other| **other != port && other.meets(&port)) {
            return Err(invalid(format!(
                "{field}: host port {} {} is given to two ports, {} and {}",
                port.protocol.name(),
                port.host_port,
                other.container_port,
                port.container_port
            )));
        }
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    Ok(ports)
}
