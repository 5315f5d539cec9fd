//! The built-in network as a driver: what a pod gets, and the order in which it is made and taken apart.
//!
//! Every name is computed before it is made (I3), every line of taking apart may find its work done (I4). Owns: the
//! choice of addresses. Never: a message to the kernel; see `links`.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    firewall::{Firewall, Forward, forwards},
    links,
    make::{Detail, Given, make_bridge, make_links, outside},
    memory::{Memory, is_free_on_host, pools},
    pool::Pool,
    tracked,
};
use crate::{
    network::{
        NetworkError, NotReady, Subnet,
        driver::{Network, Pod, Work},
        record::{RECORD_VERSION, Record},
    },
    sandbox::Protocol,
    sys::netlink::Netlink,
    tasks::{self, blocking},
};

/// Annotations that ask for what is not done here.
const BANDWIDTH: [&str; 2] = ["kubernetes.io/ingress-bandwidth", "kubernetes.io/egress-bandwidth"];

/// What the configuration says.
#[derive(Debug, Clone)]
pub struct BridgeSettings {
    /// Name of the bridge's link.
    pub name: String,
    /// Whether that name is ours alone, so that the bridge is removed with the last pod.
    pub is_ours: bool,
    /// The ranges, one of each family at most.
    pub subnets: Vec<Subnet>,
    /// Whether the configuration itself names the ranges, so that the kubelet's are not taken.
    pub is_fixed: bool,
    /// Names the firewall table.
    pub instance: String,
    /// This boot.
    pub boot_id: String,
}

/// What is made for all pods, as far as this daemon has seen to it.
#[derive(Debug, Default)]
struct Ground {
    /// The ranges that the firewall table was last made for.
    table: Option<BTreeSet<Subnet>>,
    /// What is not as it could be, for people.
    note: String,
}

/// The driver.
#[derive(Debug)]
pub struct Bridge {
    settings: BridgeSettings,
    firewall: Firewall,
    memory: Mutex<Memory>,
    /// One change of the ground, and of the firewall, at a time.
    ground: tokio::sync::Mutex<Ground>,
}

impl Bridge {
    /// Nothing is made yet; the first pod makes it.
    pub fn new(settings: BridgeSettings) -> Self {
        let firewall = Firewall::new(&settings.instance, &settings.name);
        if !firewall.is_there() {
            tracing::info!(
                "no nft here: on the built-in network pods have no way out of the host and no host ports"
            );
        }
        let pools = pools(&settings.subnets);
        let subnets = pools.iter().map(Pool::subnet).collect();
        let memory = Memory {
            pools,
            subnets,
            forwards: BTreeMap::new(),
            leaving: BTreeSet::new(),
            pods: BTreeMap::new(),
        };
        Self { settings, firewall, memory: Mutex::new(memory), ground: tokio::sync::Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn detail(record: &Record) -> Result<Detail, NetworkError> {
        serde_json::from_value(record.detail.clone()).map_err(|e| NetworkError::at("the record", e))
    }

    /// Makes, or puts right, what all pods stand on: the bridge, its addresses, the host's settings, the table. The
    /// bridge's index.
    async fn ground(&self) -> Result<u32, NetworkError> {
        let mut ground = self.ground.lock().await;
        let all = self.memory().subnets.clone();
        if ground.table.as_ref() == Some(&all)
            && let Ok(index) = Netlink::open().and_then(|netlink| netlink.index_of(&self.settings.name))
        {
            return Ok(index);
        }
        let (subnets, forwards) = {
            let memory = self.memory();
            let gateways: Vec<Subnet> = memory.pools.iter().map(Pool::subnet).collect();
            (gateways, memory.open_forwards())
        };
        let (name, ranges, is_ours) = (self.settings.name.clone(), all.clone(), self.settings.is_ours);
        let index = blocking(tasks::Pool::Network, move || make_bridge(&name, &subnets, &ranges, is_ours))
            .await
            .map_err(|e| NetworkError::at("the bridge", e))?;
        if self.firewall.is_there() {
            // Pods can do without, and are better off than not being there at all.
            let done = self.firewall.replace(&all, &forwards).await;
            ground.note = match done {
                Ok(()) => self.who_drops().await,
                Err(error) => format!("pods have no way out of the host: {error}"),
            };
            if !ground.note.is_empty() {
                tracing::warn!("{}", ground.note);
            }
        }
        ground.table = Some(all);
        Ok(index)
    }

    /// A sentence about others that stand in the way of pods.
    async fn who_drops(&self) -> String {
        match self.firewall.drops().await {
            Ok(chains) if chains.is_empty() => String::new(),
            Ok(chains) => format!(
                "the host's firewall drops what it forwards ({}): let packets from and to {} pass there",
                chains.join(", "),
                self.settings.name
            ),
            Err(error) => error.to_string(),
        }
    }

    /// Lets a pod's host ports in. Where the table is gone, or is not what it was, all of it is made anew.
    async fn open_ports(&self, forwards: &[Forward]) -> Result<(), NetworkError> {
        {
            let _one_at_a_time = self.ground.lock().await;
            if let Err(error) = self.firewall.add(forwards).await {
                tracing::warn!(%error, "the firewall table is made anew");
                self.replace_table().await?;
            }
        }
        forget_flows(forwards).await;
        Ok(())
    }

    /// Takes a pod's host ports out, and does not leave the table wrong.
    async fn close_ports(&self, id: &str, forwards: &[Forward]) -> Result<(), NetworkError> {
        {
            let _one_at_a_time = self.ground.lock().await;
            // From now on no table that is made anew has them. The ports stay taken until the pod is forgotten: a second
            // try takes them out by their numbers, whoever they would lead to then.
            self.memory().leaving.insert(id.to_owned());
            if self.firewall.take_out(forwards).await.is_err() {
                self.replace_table().await?;
            }
        }
        forget_flows(forwards).await;
        Ok(())
    }

    /// The whole table from memory.
    async fn replace_table(&self) -> Result<(), NetworkError> {
        let (subnets, forwards) = {
            let memory = self.memory();
            (memory.subnets.clone(), memory.open_forwards())
        };
        self.firewall.replace(&subnets, &forwards).await
    }
}

/// Flows of datagrams that began when the ports led elsewhere. Where it fails they end by themselves, later.
async fn forget_flows(forwards: &[Forward]) {
    let of_udp = forwards.iter().filter(|forward| forward.port.protocol == Protocol::Udp);
    let of_udp: Vec<Forward> = of_udp.cloned().collect();
    if of_udp.is_empty() {
        return;
    }
    if let Err(error) = blocking(tasks::Pool::Network, move || tracked::forget(&of_udp)).await {
        tracing::warn!(%error, "flows of datagrams may go on to where a host port led before");
    }
}

impl Network for Bridge {
    fn name(&self) -> &'static str {
        "bridge"
    }

    fn outlives_reboot(&self) -> bool {
        false
    }

    fn is_wanted(&self) -> bool {
        true
    }

    fn ready(&self) -> Result<String, NotReady> {
        let not_ready = |reason, message| Err(NotReady { reason, message });
        let subnets: Vec<Subnet> = self.memory().pools.iter().map(Pool::subnet).collect();
        let look = || -> std::io::Result<Option<String>> {
            let mut netlink = Netlink::open()?;
            let routes = links::routes(&mut netlink)?;
            let own = netlink.index_of(&self.settings.name).ok();
            let taken = routes.iter().find(|(address, prefix, link)| {
                Some(*link) != own && subnets.iter().any(|subnet| subnet.overlaps(*address, *prefix))
            });
            Ok(taken.map(|(address, prefix, _)| format!("{address}/{prefix}")))
        };
        match look() {
            // Being changed just now, it will tell the next one who asks.
            Ok(None) if self.firewall.is_there() => {
                Ok(self.ground.try_lock().map(|ground| ground.note.clone()).unwrap_or_default())
            }
            Ok(None) => {
                Ok("no nft here: pods have no way out of the host and no host ports; install nftables".into())
            }
            Ok(Some(route)) => {
                let ranges: Vec<String> = subnets.iter().map(ToString::to_string).collect();
                let message = format!(
                    "the host has a route to {route}, which pods' addresses ({}) would cut off; set bridge.subnet",
                    ranges.join(", ")
                );
                not_ready("SubnetInUse", message)
            }
            Err(error) => not_ready("NetlinkFailed", format!("the host's routes cannot be read: {error}")),
        }
    }

    fn plan(&self, pod: &Pod<'_>) -> Result<Record, NetworkError> {
        let ports = &pod.config.ports;
        if !ports.is_empty() && !self.firewall.is_there() {
            return Err(NetworkError::NoFirewall);
        }
        self.ready().map_err(|e| NetworkError::NotReady(e.message))?;
        if pod.config.annotations.keys().any(|key| BANDWIDTH.contains(&key.as_str())) {
            tracing::warn!(
                id = pod.id,
                "the built-in network limits no bandwidth; use CNI with the plugin bandwidth"
            );
        }
        let mut memory = self.memory();
        for port in ports {
            let of_host = || (!is_free_on_host(port)).then(|| "a process of the host".to_owned());
            if let Some(holder) = memory.conflict(pod.id, port).or_else(of_host) {
                return Err(NetworkError::PortTaken {
                    protocol: port.protocol.name(),
                    port: port.host_port,
                    address: port.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                    holder,
                });
            }
        }
        let mut given = Vec::new();
        for pool in &mut memory.pools {
            let subnet = pool.subnet();
            let Some(address) = pool.take(pod.id) else {
                memory.pools.iter_mut().for_each(|pool| pool.give_back(pod.id));
                return Err(NetworkError::NoAddress(subnet.to_string()));
            };
            given.push(Given { address, prefix: subnet.prefix(), gateway: subnet.gateway() });
        }
        let addresses: Vec<IpAddr> = given.iter().map(|given| given.address).collect();
        memory.forwards.insert(pod.id.to_owned(), forwards(ports, &addresses));
        memory.pods.insert(pod.id.to_owned(), addresses.clone());
        let detail = Detail { link: outside(pod.id), given, ports: ports.clone() };
        Ok(Record {
            version: RECORD_VERSION,
            driver: self.name().to_owned(),
            boot_id: self.settings.boot_id.clone(),
            addresses,
            detail: serde_json::to_value(detail).map_err(|e| NetworkError::at("the record", e))?,
        })
    }

    fn attach<'a>(&'a self, pod: &'a Pod<'a>, record: &'a mut Record) -> Work<'a, ()> {
        Box::pin(async move {
            let detail = Self::detail(record)?;
            let forwards = forwards(&detail.ports, &record.addresses);
            let bridge = self.ground().await?;
            let pin = pod.netns.clone();
            blocking(tasks::Pool::Network, move || make_links(bridge, &pin, &detail))
                .await
                .map_err(|e| NetworkError::at("the pod's link", e))?;
            if !forwards.is_empty() {
                self.open_ports(&forwards).await?;
            }
            Ok(())
        })
    }

    fn detach<'a>(&'a self, id: &'a str, _: PathBuf, record: &'a Record) -> Work<'a, ()> {
        Box::pin(async move {
            if record.boot_id != self.settings.boot_id {
                return Ok(());
            }
            let detail = Self::detail(record)?;
            let forwards = forwards(&detail.ports, &record.addresses);
            if !forwards.is_empty() && self.firewall.is_there() {
                self.close_ports(id, &forwards).await?;
            }
            let link = detail.link;
            blocking(tasks::Pool::Network, move || links::remove(&mut Netlink::open()?, &link))
                .await
                .map_err(|e| NetworkError::at("the pod's link", e))
        })
    }

    fn forget(&self, id: &str) {
        self.memory().forget(id);
    }

    fn adopt(&self, id: &str, record: &Record) {
        if record.driver != self.name() || record.boot_id != self.settings.boot_id {
            return;
        }
        let Ok(detail) = Self::detail(record) else { return };
        let mut memory = self.memory();
        for given in &detail.given {
            let others: Vec<String> =
                memory.pools.iter_mut().filter_map(|pool| pool.note(given.address, id)).collect();
            if let Some(other) = others.first() {
                tracing::error!(id, other, address = %given.address, "two pods have one address: stop one of them");
            }
            // Of a range that was another one then: its pods go on as they are.
            memory.subnets.extend(format!("{}/{}", given.address, given.prefix).parse::<Subnet>());
        }
        memory.forwards.insert(id.to_owned(), forwards(&detail.ports, &record.addresses));
        memory.pods.insert(id.to_owned(), record.addresses.clone());
    }

    fn recovered(&self, _: bool) -> Work<'_, ()> {
        Box::pin(
            async move { if self.memory().pods.is_empty() { Ok(()) } else { self.ground().await.map(drop) } },
        )
    }

    fn set_ranges(&self, ranges: &[Subnet]) {
        if ranges.is_empty() {
            return;
        }
        if self.settings.is_fixed {
            tracing::info!(?ranges, "the node's pod range is not taken: bridge.subnet is configured");
            return;
        }
        let mut memory = self.memory();
        let old: Vec<Subnet> = memory.pools.iter().map(Pool::subnet).collect();
        let mut wanted = ranges.to_vec();
        // Of a family that is not told the built-in range stays, so that a pod has what it had.
        wanted.extend(
            self.settings.subnets.iter().filter(|s| !ranges.iter().any(|r| r.is_ipv4() == s.is_ipv4())),
        );
        let mut new = pools(&wanted);
        if new.iter().map(Pool::subnet).collect::<Vec<_>>() == old {
            return;
        }
        // Pods that have an address in a new range keep it.
        for pool in &mut new {
            for (id, addresses) in &memory.pods {
                addresses.iter().for_each(|address| drop(pool.note(*address, id)));
            }
        }
        let used: Vec<IpAddr> = memory.pods.values().flatten().copied().collect();
        memory.subnets.retain(|subnet| used.iter().any(|address| subnet.contains(*address)));
        memory.subnets.extend(new.iter().map(Pool::subnet));
        memory.pools = new;
    }

    fn leave(&self) -> Work<'_, ()> {
        Box::pin(async move {
            let mut ground = self.ground.lock().await;
            if !self.memory().pods.is_empty() {
                return Ok(());
            }
            let name = self.settings.name.clone();
            let look = move || Netlink::open().and_then(|netlink| netlink.index_of(&name)).is_ok();
            let was_made = ground.table.take().is_some();
            // A daemon that was killed may have left it.
            if !was_made && !blocking(tasks::Pool::Network, look).await {
                return Ok(());
            }
            if self.firewall.is_there() {
                self.firewall.remove().await?;
            }
            if !self.settings.is_ours {
                return Ok(());
            }
            let name = self.settings.name.clone();
            blocking(tasks::Pool::Network, move || links::remove(&mut Netlink::open()?, &name))
                .await
                .map_err(|e| NetworkError::at("the bridge", e))
        })
    }
}
