//! Addresses of this machine and of its link, behind which services trust whoever reaches them.
//!
//! Owns: that no registry elsewhere sends us there, by an address or by a name that leads to one. Never: judges the
//! registries that the operator or the pod names.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::place::is_loopback;

/// Where a large cloud serves its machines' secrets over IPv6.
const CLOUD: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Whether a host without port and brackets says by itself that it is one of those.
pub(super) fn is_inner(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    is_loopback(name) || name.parse::<IpAddr>().is_ok_and(is_inner_address)
}

fn is_inner_address(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local() || address.is_unspecified(),
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unicast_link_local()
                || address.is_unspecified()
                || address == CLOUD
        }
    }
}

/// Resolves names for a host that a registry has sent us to.
#[derive(Debug)]
pub(super) struct Outer {
    /// That host. Other names are asked for too: those of proxies, which the operator names.
    pub(super) host: String,
    /// The registry: where its own name leads to this machine, it may send us there.
    pub(super) registry: String,
}

impl Resolve for Outer {
    fn resolve(&self, name: Name) -> Resolving {
        let registry = self.registry.clone();
        let guarded = name.as_str().eq_ignore_ascii_case(&self.host);
        Box::pin(async move {
            let mut found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let inner = |address: &SocketAddr| is_inner_address(address.ip());
            if guarded && found.iter().any(inner) {
                let own = tokio::net::lookup_host((registry.as_str(), 0)).await;
                if !own.is_ok_and(|mut own| own.any(|address| inner(&address))) {
                    found.retain(|address| !inner(address));
                }
                if found.is_empty() {
                    let name = name.as_str();
                    return Err(format!(
                        "{registry} sends us to {name}, which leads to this machine or its link"
                    )
                    .into());
                }
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use reqwest::dns::Resolve;

    use super::{Outer, is_inner};

    #[test]
    fn inner_addresses_are_known_in_every_dress() {
        let inner = [
            "localhost",
            "localhost.",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:a9fe:a9fe",
            "169.254.169.254",
            "0.0.0.0",
            "::",
            "::ffff:0.0.0.0",
            "fe80::1",
            "fd00:ec2::254",
        ];
        for name in inner {
            assert!(is_inner(name), "{name}");
        }
        for name in
            ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "fd00::1", "example.com", "localhost.example"]
        {
            assert!(!is_inner(name), "{name}");
        }
    }

    #[test]
    fn a_name_that_leads_to_this_machine_is_not_followed_on_the_word_of_another() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let allowed = |host: &str, registry: &str| {
            let outer = Outer { host: host.to_owned(), registry: registry.to_owned() };
            runtime.block_on(outer.resolve("localhost".parse().unwrap())).is_ok()
        };
        assert!(!allowed("localhost", "192.0.2.1"));
        assert!(allowed("localhost", "127.0.0.1"), "a registry of this machine may");
        assert!(allowed("other.example", "192.0.2.1"), "a proxy of this machine");
    }
}
