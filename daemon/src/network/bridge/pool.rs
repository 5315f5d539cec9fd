//! Which addresses of a subnet are taken, and by whom: derived from the pods' own records, in memory only.
//!
//! Owns: the choice of a free address. Never: the disk; what a record says is taken, nothing else is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::network::Subnet;

/// The addresses of one subnet.
#[derive(Debug)]
pub(super) struct Pool {
    subnet: Subnet,
    taken: BTreeMap<u128, String>,
    /// The number after the one given last: an address that was given back rests as long as it can.
    next: u128,
}

impl Pool {
    /// An empty one.
    pub(super) fn new(subnet: Subnet) -> Self {
        Self { subnet, taken: BTreeMap::new(), next: 0 }
    }

    /// The range.
    pub(super) fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// Takes a free address for a pod. `None`: there is none.
    pub(super) fn take(&mut self, pod: &str) -> Option<IpAddr> {
        let free = self.free_from(self.next).or_else(|| self.free_from(0))?;
        self.taken.insert(free, pod.to_owned());
        self.next = free + 1;
        Some(self.subnet.pod(free))
    }

    /// The first free number from this one on.
    fn free_from(&self, start: u128) -> Option<u128> {
        let mut candidate = start;
        for taken in self.taken.range(start..).map(|(nr, _)| *nr) {
            if taken != candidate {
                break;
            }
            candidate += 1;
        }
        (candidate < self.subnet.room()).then_some(candidate)
    }

    /// Notes an address of a record. `Some`: another pod has it.
    pub(super) fn note(&mut self, address: IpAddr, pod: &str) -> Option<String> {
        let nr = self.subnet.number(address)?;
        let holder = self.taken.entry(nr).or_insert_with(|| pod.to_owned());
        self.next = self.next.max(nr + 1);
        (holder != pod).then(|| holder.clone())
    }

    /// Gives back what a pod holds.
    pub(super) fn give_back(&mut self, pod: &str) {
        let held: BTreeSet<u128> =
            self.taken.iter().filter(|(_, holder)| *holder == pod).map(|(nr, _)| *nr).collect();
        held.iter().for_each(|nr| drop(self.taken.remove(nr)));
    }
}

#[cfg(test)]
mod tests {
    use super::Pool;

    #[test]
    fn addresses_are_given_once_and_rest() {
        let mut pool = Pool::new("10.0.0.0/29".parse().unwrap());
        let take = |pool: &mut Pool, pod: &str| pool.take(pod).map(|address| address.to_string());
        assert_eq!(take(&mut pool, "a").as_deref(), Some("10.0.0.2"));
        assert_eq!(take(&mut pool, "b").as_deref(), Some("10.0.0.3"));
        pool.give_back("a");
        assert_eq!(take(&mut pool, "c").as_deref(), Some("10.0.0.4"));
        assert_eq!(take(&mut pool, "d").as_deref(), Some("10.0.0.5"));
        assert_eq!(take(&mut pool, "e").as_deref(), Some("10.0.0.6"));
        assert_eq!(take(&mut pool, "f").as_deref(), Some("10.0.0.2"));
        assert_eq!(take(&mut pool, "g"), None);
    }

    #[test]
    fn records_are_noted() {
        let mut pool = Pool::new("10.0.0.0/24".parse().unwrap());
        let address = "10.0.0.2".parse().unwrap();
        assert_eq!(pool.note(address, "a"), None);
        assert_eq!(pool.note(address, "a"), None);
        assert_eq!(pool.note(address, "b").as_deref(), Some("a"));
        assert_eq!(pool.note("10.9.0.2".parse().unwrap(), "b"), None);
        assert_ne!(pool.take("c").unwrap(), address);
    }
}
