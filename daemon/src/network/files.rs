//! A pod's files about its network: hosts, hostname, resolv.conf.
//!
//! Owns: their content. Never: a link or an address.

use std::{fs, io, net::IpAddr};

use crate::{
    sandbox::{SandboxConfig, Sharing},
    store::read_host as read,
};

/// Content of the pod's /etc/hosts; without an address of its own its name is loopback's.
pub fn hosts(config: &SandboxConfig, addresses: &[IpAddr]) -> io::Result<String> {
    if config.network == Sharing::Node {
        return Ok(String::from_utf8_lossy(&read(std::path::Path::new("/etc/hosts"))?.unwrap_or_default())
            .into_owned());
    }
    let mut text = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let loopback = [IpAddr::from([127, 0, 0, 1])];
    let addresses = if addresses.is_empty() { &loopback } else { addresses };
    if !config.hostname.is_empty() {
        addresses.iter().for_each(|address| text.push_str(&format!("{address}\t{}\n", config.hostname)));
    }
    Ok(text)
}

/// Content of the pod's /etc/hostname.
pub fn hostname(config: &SandboxConfig) -> io::Result<String> {
    if config.network == Sharing::Node || config.hostname.is_empty() {
        return fs::read_to_string("/proc/sys/kernel/hostname");
    }
    Ok(format!("{}\n", config.hostname))
}

/// Content of the pod's /etc/resolv.conf: what was asked, else the host's.
pub fn resolv_conf(config: &SandboxConfig) -> io::Result<String> {
    let Some(dns) = config.dns.as_ref().filter(|dns| **dns != crate::sandbox::Dns::default()) else {
        let host = read(std::path::Path::new("/etc/resolv.conf"))?.unwrap_or_default();
        return Ok(String::from_utf8_lossy(&host).into_owned());
    };
    let mut text = String::new();
    if !dns.searches.is_empty() {
        text.push_str(&format!("search {}\n", dns.searches.join(" ")));
    }
    for server in &dns.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !dns.options.is_empty() {
        text.push_str(&format!("options {}\n", dns.options.join(" ")));
    }
    Ok(text)
}
