//! The built-in network's firewall table: masquerade for what leaves the host, host ports of pods. Made by `nft`, in one
//! table named after the instance; each change is one transaction, so there is never half of it.
//!
//! Owns: the table's text. Never: reads it back; what is to be in it is known from the pods' records.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
};

use crate::network::Subnet;
use serde_json::Value;

use crate::{
    limits::FIREWALL,
    network::{
        NetworkError,
        program::{PATH, Program},
    },
    sandbox::{PortMapping, Protocol},
};

/// Folders in which nft is looked for.
const PROGRAM_DIRS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"];

/// A host port and the pod's address behind it, which are of one family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Forward {
    pub(super) port: PortMapping,
    pub(super) to: IpAddr,
}

/// The forwards that a pod's ports make: one for each of its addresses that fits.
pub(super) fn forwards(ports: &[PortMapping], addresses: &[IpAddr]) -> Vec<Forward> {
    let fits = |port: &PortMapping, to: &IpAddr| {
        port.host_ip.is_none_or(|at| at.is_unspecified() && at.is_ipv6() || at.is_ipv4() == to.is_ipv4())
    };
    let of_port = |port: &PortMapping| {
        let fitting = addresses.iter().filter(|to| fits(port, to));
        fitting.map(|to| Forward { port: port.clone(), to: *to }).collect::<Vec<_>>()
    };
    ports.iter().flat_map(of_port).collect()
}

impl Forward {
    fn map(&self) -> String {
        let family = if self.to.is_ipv4() { "4" } else { "6" };
        let at = if self.only_at().is_some() { "_at" } else { "" };
        format!("ports{family}{at}")
    }

    /// The one address of the host that the port is opened at.
    pub(super) fn only_at(&self) -> Option<IpAddr> {
        self.port.host_ip.filter(|at| !at.is_unspecified())
    }

    fn key(&self) -> String {
        let protocol = match self.port.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        let at = self.only_at().map(|at| format!("{at} . ")).unwrap_or_default();
        format!("{at}{protocol} . {}", self.port.host_port)
    }

    fn element(&self) -> String {
        format!("{} : {} . {}", self.key(), self.to, self.port.container_port)
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct Firewall {
    program: Option<PathBuf>,
    table: String,
    bridge: String,
}

impl Firewall {
    /// Finds the program. `instance` has letters, digits and `-` only.
    pub(super) fn new(instance: &str, bridge: &str) -> Self {
        let paths = PROGRAM_DIRS.iter().map(|dir| Path::new(dir).join("nft"));
        let program = paths.into_iter().find(|path| path.is_file());
        // One to one, since an instance's name has no `_`.
        let table = instance.replace('-', "_");
        Self { program, table, bridge: bridge.to_owned() }
    }

    /// Whether there is an nft.
    pub(super) fn is_there(&self) -> bool {
        self.program.is_some()
    }

    /// Puts the whole table in place of whatever there is of it.
    pub(super) async fn replace(
        &self,
        subnets: &BTreeSet<Subnet>,
        forwards: &[Forward],
    ) -> Result<(), NetworkError> {
        self.run("the firewall table", &self.text(subnets, forwards)).await
    }

    /// Adds a pod's host ports.
    pub(super) async fn add(&self, forwards: &[Forward]) -> Result<(), NetworkError> {
        let line =
            |f: &Forward| format!("add element inet {} {} {{ {} }}\n", self.table, f.map(), f.element());
        self.run("the host ports", &forwards.iter().map(line).collect::<String>()).await
    }

    /// Takes a pod's host ports out.
    pub(super) async fn take_out(&self, forwards: &[Forward]) -> Result<(), NetworkError> {
        let line =
            |f: &Forward| format!("delete element inet {} {} {{ {} }}\n", self.table, f.map(), f.key());
        self.run("the host ports", &forwards.iter().map(line).collect::<String>()).await
    }

    /// Removes the table. It is gone: fine.
    pub(super) async fn remove(&self) -> Result<(), NetworkError> {
        let table = &self.table;
        // Deleting what is not there is an error; adding what is there is none.
        self.run("the firewall table", &format!("add table inet {table}\ndelete table inet {table}\n")).await
    }

    /// Chains of others that drop what the host forwards unless a rule lets it pass: such a drop is final, whatever our
    /// table says.
    pub(super) async fn drops(&self) -> Result<Vec<String>, NetworkError> {
        let listed = self.nft("the firewall", &["-j", "list", "chains"], "").await?;
        let listed: Value =
            serde_json::from_slice(&listed).map_err(|e| NetworkError::at("the firewall", e))?;
        let chains = listed.get("nftables").and_then(Value::as_array).into_iter().flatten();
        let chains = chains.filter_map(|entry| entry.get("chain"));
        let text =
            |chain: &Value, key: &str| chain.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let dropping =
            chains.filter(|chain| text(chain, "hook") == "forward" && text(chain, "policy") == "drop");
        let name = |chain: &Value| ["family", "table", "name"].map(|key| text(chain, key)).join(" ");
        Ok(dropping.map(name).collect())
    }

    async fn run(&self, what: &'static str, text: &str) -> Result<(), NetworkError> {
        self.nft(what, &["-f", "-"], text).await.map(drop)
    }

    async fn nft(&self, what: &'static str, args: &[&str], input: &str) -> Result<Vec<u8>, NetworkError> {
        let path = self.program.as_deref().ok_or(NetworkError::NoFirewall)?;
        let environment = vec![("PATH", PATH.to_owned())];
        let program = Program { path, args, environment, input: input.as_bytes(), deadline: FIREWALL };
        let ended = program.run().await.map_err(|e| NetworkError::at(what, format!("nft: {e}")))?;
        if ended.success {
            return Ok(ended.output);
        }
        Err(NetworkError::at(what, format!("nft: {}: {}", ended.how, ended.errors)))
    }

    /// The whole table. A dnat is for addresses of the host alone: traffic that only passes through is not ours.
    pub(super) fn text(&self, subnets: &BTreeSet<Subnet>, forwards: &[Forward]) -> String {
        let (table, bridge) = (&self.table, &self.bridge);
        let range = |v4: bool| {
            let of_family = subnets.iter().filter(|subnet| subnet.is_ipv4() == v4);
            elements(&of_family.map(ToString::to_string).collect::<Vec<_>>())
        };
        let ports = |map: &str| {
            let in_map = forwards.iter().filter(|forward| forward.map() == map);
            elements(&in_map.map(Forward::element).collect::<Vec<_>>())
        };
        let v4 = "type inet_proto . inet_service : ipv4_addr . inet_service;";
        let v6 = "type inet_proto . inet_service : ipv6_addr . inet_service;";
        format!(
            "add table inet {table}
delete table inet {table}
table inet {table} {{
  set pods4 {{ type ipv4_addr; flags interval;{pods4} }}
  set pods6 {{ type ipv6_addr; flags interval;{pods6} }}
  map ports4 {{ {v4}{ports4} }}
  map ports6 {{ {v6}{ports6} }}
  map ports4_at {{ {v4_at}{ports4_at} }}
  map ports6_at {{ {v6_at}{ports6_at} }}
  chain guard {{
    type filter hook prerouting priority raw; policy accept;
    iifname \"{bridge}\" ip daddr 127.0.0.0/8 drop
  }}
  chain hostports {{
    meta nfproto ipv4 dnat ip to ip daddr . meta l4proto . th dport map @ports4_at
    meta nfproto ipv4 dnat ip to meta l4proto . th dport map @ports4
    meta nfproto ipv6 dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6_at
    meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @ports6
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump hostports
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump hostports
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr 127.0.0.0/8 oifname \"{bridge}\" masquerade
    ct status dnat ip saddr @pods4 oifname \"{bridge}\" masquerade
    ct status dnat ip6 saddr @pods6 oifname \"{bridge}\" masquerade
    ip saddr @pods4 ip daddr != @pods4 oifname != \"{bridge}\" masquerade
    ip6 saddr @pods6 ip6 daddr != @pods6 oifname != \"{bridge}\" masquerade
  }}
}}
",
            pods4 = range(true),
            pods6 = range(false),
            ports4 = ports("ports4"),
            ports6 = ports("ports6"),
            ports4_at = ports("ports4_at"),
            ports6_at = ports("ports6_at"),
            v4_at = v4.replace("type ", "type ipv4_addr . "),
            v6_at = v6.replace("type ", "type ipv6_addr . "),
        )
    }
}

/// The elements of a set or map; an empty list may not be written.
fn elements(list: &[String]) -> String {
    if list.is_empty() { String::new() } else { format!(" elements = {{ {} }}", list.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::{Firewall, Forward, forwards};
    use crate::sandbox::{PortMapping, Protocol};

    fn port(host_ip: Option<&str>) -> PortMapping {
        PortMapping {
            protocol: Protocol::Udp,
            host_port: 8080,
            container_port: 80,
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        }
    }

    fn elements(host_ip: Option<&str>) -> Vec<String> {
        let addresses = ["10.86.0.2".parse().unwrap(), "fd00:86::2".parse().unwrap()];
        let made = forwards(&[port(host_ip)], &addresses);
        made.iter().map(|f: &Forward| format!("{} {}", f.map(), f.element())).collect()
    }

    #[test]
    fn a_port_goes_to_the_addresses_that_fit() {
        let four = "ports4 udp . 8080 : 10.86.0.2 . 80";
        let six = "ports6 udp . 8080 : fd00:86::2 . 80";
        assert_eq!(elements(None), [four, six]);
        assert_eq!(elements(Some("::")), [four, six]);
        assert_eq!(elements(Some("0.0.0.0")), [four]);
        assert_eq!(elements(Some("127.0.0.1")), ["ports4_at 127.0.0.1 . udp . 8080 : 10.86.0.2 . 80"]);
        assert_eq!(elements(Some("::1")), ["ports6_at ::1 . udp . 8080 : fd00:86::2 . 80"]);
    }

    #[test]
    fn the_table_is_the_documented_one() {
        let firewall = Firewall::new("t-1", "br0");
        let addresses = ["10.86.0.2".parse().unwrap()];
        let subnets = ["10.86.0.0/16".parse().unwrap(), "fd00:86::/64".parse().unwrap()].into();
        let text = firewall.text(&subnets, &forwards(&[port(None)], &addresses));
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/firewall.nft");
        crate::test_golden(&path, &text);
    }
}
