//! A range of addresses, as `10.86.0.0/16`.
//!
//! Owns: the arithmetic on it. Never: which address is free.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A range with room for a gateway and a pod at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subnet {
    first: IpAddr,
    prefix: u8,
}

/// A text that is no range for pods.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no subnet such as 10.86.0.0/16 or fd00:86::/64: {why}")]
pub struct BadSubnet {
    text: String,
    why: &'static str,
}

impl FromStr for Subnet {
    type Err = BadSubnet;

    fn from_str(text: &str) -> Result<Self, BadSubnet> {
        let bad = |why| BadSubnet { text: text.chars().take(64).collect(), why };
        let (address, prefix) = text.split_once('/').ok_or_else(|| bad("there is no /"))?;
        let address: IpAddr = address.parse().map_err(|_| bad("what stands before / is no address"))?;
        let prefix: u8 = prefix.parse().map_err(|_| bad("what stands behind / is no length"))?;
        let width = width(address);
        // Two bits: network, gateway, a pod, broadcast.
        if prefix == 0 || prefix > width - 2 {
            return Err(bad("it has no room for pods, or is everything"));
        }
        if address.is_loopback() || address.is_multicast() || address.is_unspecified() {
            return Err(bad("loopback and multicast addresses are nobody's"));
        }
        let host = (1_u128 << (width - prefix)) - 1;
        Ok(Self { first: from_number(number(address) & !host, address.is_ipv4()), prefix })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl Subnet {
    /// Length of the part that all its addresses share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether it is one of IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.first.is_ipv4()
    }

    /// How many addresses pods may have.
    pub fn room(&self) -> u128 {
        let size = 1_u128 << (width(self.first) - self.prefix);
        // Network and gateway; the last one is the broadcast address of IPv4.
        size - if self.is_ipv4() { 3 } else { 2 }
    }

    /// The bridge's own address: the first.
    pub fn gateway(&self) -> IpAddr {
        self.at(1)
    }

    /// A pod's address by its number, below [`Self::room`].
    pub fn pod(&self, nr: u128) -> IpAddr {
        self.at(nr + 2)
    }

    /// The number of a pod's address; `None`: it is not one.
    pub fn number(&self, address: IpAddr) -> Option<u128> {
        let nr = self.contains(address).then(|| number(address) - number(self.first))?.checked_sub(2)?;
        (nr < self.room()).then_some(nr)
    }

    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.overlaps(address, width(address))
    }

    /// Whether this and another range have an address in common.
    pub fn overlaps(&self, address: IpAddr, prefix: u8) -> bool {
        let width = width(self.first);
        let shift = width - self.prefix.min(prefix).min(width);
        address.is_ipv4() == self.is_ipv4()
            && number(address).checked_shr(u32::from(shift))
                == number(self.first).checked_shr(u32::from(shift))
    }

    fn at(&self, nr: u128) -> IpAddr {
        from_number(number(self.first) + nr, self.is_ipv4())
    }
}

/// Bits of an address.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn from_number(number: u128, ipv4: bool) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if ipv4 => Ipv4Addr::from_bits(number).into(),
        _ => Ipv6Addr::from_bits(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::Subnet;

    #[test]
    fn a_subnet_is_read_and_counted() {
        let subnet: Subnet = "10.86.3.9/24".parse().unwrap();
        assert_eq!(subnet.to_string(), "10.86.3.0/24");
        assert_eq!((subnet.gateway().to_string(), subnet.room()), ("10.86.3.1".into(), 253));
        assert_eq!(subnet.pod(252).to_string(), "10.86.3.254");
        assert_eq!(subnet.number("10.86.3.2".parse().unwrap()), Some(0));
        assert_eq!(subnet.number("10.86.3.255".parse().unwrap()), None);
        assert_eq!(subnet.number("10.86.3.1".parse().unwrap()), None);
        let six: Subnet = "fd00:86::/64".parse().unwrap();
        assert_eq!(
            (six.gateway().to_string(), six.pod(0).to_string()),
            ("fd00:86::1".into(), "fd00:86::2".into())
        );
    }

    #[test]
    fn overlaps_are_seen() {
        let subnet: Subnet = "10.86.0.0/16".parse().unwrap();
        for (address, prefix, overlaps) in
            [("10.86.7.0", 24, true), ("10.0.0.0", 8, true), ("10.87.0.0", 16, false), ("fd00::", 8, false)]
        {
            assert_eq!(subnet.overlaps(address.parse().unwrap(), prefix), overlaps, "{address}/{prefix}");
        }
    }

    #[test]
    fn what_is_no_subnet_is_refused() {
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/31",
            "x/8",
            "0.0.0.0/0",
            "127.0.0.0/8",
            "fd00::/127",
            "10.0.0.0/-1",
        ] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }
}
