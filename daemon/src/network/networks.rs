//! The networks there are, which of them is used, and the attachments of all pods.
//!
//! Owns: the choice of a driver, the records on disk. Never: makes a link.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use protocol::ids::SandboxId;

use super::{
    NetworkError, NotReady, Subnet,
    driver::{Network, Pod},
    record::{RECORD_VERSION, Record},
};
use crate::{
    config::NetworkMode,
    layout::Layout,
    sandbox::SandboxConfig,
    steps::{self, attempt},
    store,
    tasks::{self, Pool, blocking},
};

/// All of it.
#[derive(Debug, Clone)]
pub struct Networks {
    layout: Layout,
    mode: NetworkMode,
    /// In order: the first that is wanted is used.
    drivers: Arc<[Arc<dyn Network>]>,
    /// Addresses by sandbox. Derived from the records; sections of a few lines.
    addresses: Arc<Mutex<HashMap<String, Vec<IpAddr>>>>,
    /// Something found at start could not be read: there may be attachments that nobody knows of.
    incomplete: Arc<AtomicBool>,
}

impl Networks {
    /// These, the first one first.
    pub fn new(layout: Layout, mode: NetworkMode, drivers: Vec<Arc<dyn Network>>) -> Self {
        let networks = Self {
            layout,
            mode,
            drivers: drivers.into(),
            addresses: Arc::default(),
            incomplete: Arc::default(),
        };
        match networks.stored_ranges() {
            Ok(ranges) => networks.drivers.iter().for_each(|driver| driver.set_ranges(&ranges)),
            Err(error) => tracing::warn!(%error, "the node's pod range cannot be read and is not used"),
        }
        networks
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<String, Vec<IpAddr>>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The driver for the next pod; `None`: pods get loopback only.
    fn current(&self) -> Option<&Arc<dyn Network>> {
        match self.mode {
            NetworkMode::None => None,
            NetworkMode::Auto => self.drivers.iter().find(|driver| driver.is_wanted()),
            NetworkMode::Cni => self.named("cni"),
            NetworkMode::Bridge => self.named("bridge"),
        }
    }

    fn named(&self, name: &str) -> Option<&Arc<dyn Network>> {
        self.drivers.iter().find(|driver| driver.name() == name)
    }

    /// Whether pods can have a network now; if so, what is not as it could be.
    pub fn ready(&self) -> Result<String, NotReady> {
        self.current().map_or_else(
            || {
                let message =
                    "network = \"none\": pods on their own network have loopback only; pods on the \
                               host's network work"
                        .to_owned();
                Err(NotReady { reason: "LoopbackOnly", message })
            },
            |driver| driver.ready(),
        )
    }

    /// Name of the driver for the next pod.
    pub fn name(&self) -> Option<&'static str> {
        self.current().map(|driver| driver.name())
    }

    /// What is kept of a pod's attachment, for people.
    pub fn kept(&self, id: &SandboxId) -> Option<Record> {
        read(&self.layout.attachment(id)).ok().flatten()
    }

    /// The addresses of a pod, the primary first.
    pub fn of(&self, id: &str) -> Vec<IpAddr> {
        self.addresses().get(id).cloned().unwrap_or_default()
    }

    /// Attaches a pod. The record is written before anything is made.
    pub async fn attach(&self, id: &SandboxId, config: &SandboxConfig) -> Result<Vec<IpAddr>, NetworkError> {
        let Some(driver) = self.current() else { return Ok(Vec::new()) };
        let pod = Pod { id: id.as_str(), netns: self.layout.net_pin(id), config };
        let mut record = driver.plan(&pod)?;
        if let Err(error) = attempt("network.plan", self.write(driver, id, &record)).await {
            driver.forget(id.as_str());
            return Err(error);
        }
        let planned = record.clone();
        attempt("network.attach", driver.attach(&pod, &mut record)).await?;
        if record != planned {
            attempt("network.record", self.write(driver, id, &record)).await?;
        }
        self.addresses().insert(id.to_string(), record.addresses.clone());
        Ok(record.addresses)
    }

    async fn write(
        &self,
        driver: &Arc<dyn Network>,
        id: &SandboxId,
        record: &Record,
    ) -> Result<(), NetworkError> {
        let (path, record, durable) = (self.layout.attachment(id), record.clone(), driver.outlives_reboot());
        let shown = path.display().to_string();
        let write = move || {
            if durable { store::replace_json(&path, &record) } else { store::put_json(&path, &record) }
        };
        blocking(Pool::Disk, write)
            .await
            .map_err(|e| NetworkError::Record { path: shown, message: e.to_string() })
    }

    /// Detaches a pod. Finds nothing: fine. An error leaves the record, and the next call tries again.
    pub async fn detach(&self, id: &SandboxId) -> Result<(), NetworkError> {
        let path = self.layout.attachment(id);
        if let Some(record) = read_any(&path)? {
            match attempt("network.detach", self.detach_by(id, &record)).await {
                // What it says may mean something else by now. A pod must be removable all the same.
                Err(error) if record.version > RECORD_VERSION => {
                    tracing::error!(%id, %error, "a newer version attached the pod; what it made may be left");
                }
                detached => detached?,
            }
            let gone = steps::check("network.detached").and_then(|()| store::remove_file(&path));
            gone.map_err(|e| bad_record(&path, &e))?;
        }
        self.drivers.iter().for_each(|driver| driver.forget(id.as_str()));
        self.addresses().remove(id.as_str());
        Ok(())
    }

    async fn detach_by(&self, id: &SandboxId, record: &Record) -> Result<(), NetworkError> {
        let driver = self.named(&record.driver);
        let driver = driver.ok_or_else(|| NetworkError::Unknown(record.driver.clone()))?;
        driver.detach(id.as_str(), self.layout.net_pin(id), record).await
    }

    /// Takes note of what a sandbox found on disk holds.
    pub fn adopt(&self, id: &SandboxId) {
        let path = self.layout.attachment(id);
        let is_there = may_exist(&path);
        match read(&path) {
            Ok(Some(record)) => {
                if let Some(driver) = self.named(&record.driver) {
                    driver.adopt(id.as_str(), &record);
                }
                self.addresses().insert(id.to_string(), record.addresses);
            }
            // A torn one, or none.
            Ok(None) => {
                self.incomplete.fetch_or(is_there, Ordering::SeqCst);
            }
            Err(error) => {
                self.incomplete.store(true, Ordering::SeqCst);
                tracing::error!(%id, %error, "the pod's addresses are unknown");
            }
        }
    }

    /// Takes note of what a sandbox holds whose facts are there and cannot be read: it may well run.
    pub fn adopt_unread(&self, id: &SandboxId) {
        if may_exist(&self.layout.sandbox_facts(id)) {
            self.incomplete.store(true, Ordering::SeqCst);
            self.adopt(id);
        }
    }

    /// All sandboxes have been found: the drivers put right what they keep for all of them. Does not wait.
    pub fn recovered(&self) {
        let complete = !self.incomplete.load(Ordering::SeqCst);
        for driver in self.drivers.iter() {
            let driver = Arc::clone(driver);
            tasks::spawn("recovery of a network", async move {
                if let Err(error) = driver.recovered(complete).await {
                    tracing::error!(network = driver.name(), %error, "the network is not as it should be");
                }
            });
        }
    }

    /// The node's pod ranges, as the kubelet tells them. Empty: nothing is told.
    pub fn set_ranges(&self, text: &str) -> Result<(), String> {
        if text.trim().is_empty() {
            return Ok(());
        }
        let ranges = parse_ranges(text)?;
        let path = self.layout.pod_ranges();
        store::replace(&path, text.trim().as_bytes()).map_err(|e| format!("{}: {e}", path.display()))?;
        self.drivers.iter().for_each(|driver| driver.set_ranges(&ranges));
        Ok(())
    }

    fn stored_ranges(&self) -> Result<Vec<Subnet>, String> {
        let bytes = store::read(&self.layout.pod_ranges()).map_err(|e| e.to_string())?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        if text.trim().is_empty() { Ok(Vec::new()) } else { parse_ranges(&text) }
    }

    /// The daemon ends and there is no pod left.
    pub async fn leave(&self) {
        for driver in self.drivers.iter() {
            if let Err(error) = driver.leave().await {
                tracing::warn!(network = driver.name(), %error, "something of the network is left");
            }
        }
    }
}

/// One range, or one of each family.
fn parse_ranges(text: &str) -> Result<Vec<Subnet>, String> {
    let ranges: Result<Vec<Subnet>, _> = text.trim().split(',').map(|range| range.trim().parse()).collect();
    let ranges = ranges.map_err(|e: super::BadSubnet| e.to_string())?;
    match ranges.as_slice() {
        [_] => Ok(ranges),
        [one, other] if one.is_ipv4() != other.is_ipv4() => Ok(ranges),
        _ => Err(format!("{text:?} is more than one range of each family")),
    }
}

/// Of any version.
fn read_any(path: &Path) -> Result<Option<Record>, NetworkError> {
    match store::read_json(path) {
        // Written without a sync in a boot that ended by a power cut: what it told of is gone with that boot.
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!(path = %path.display(), error = %e, "a torn record is forgotten");
            store::remove_file(path).map_err(|e| bad_record(path, &e))?;
            Ok(None)
        }
        record => record.map_err(|e| bad_record(path, &e)),
    }
}

fn read(path: &Path) -> Result<Option<Record>, NetworkError> {
    match read_any(path)? {
        Some(record) if record.version > RECORD_VERSION => {
            Err(NetworkError::Unknown(format!("a newer version ({})", record.version)))
        }
        record => Ok(record),
    }
}

/// Whether something is there, or cannot be looked at.
fn may_exist(path: &Path) -> bool {
    !path.symlink_metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

fn bad_record(path: &Path, error: &io::Error) -> NetworkError {
    NetworkError::Record { path: path.display().to_string(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::parse_ranges;

    #[test]
    fn one_range_of_each_family() {
        assert_eq!(parse_ranges("10.1.0.0/24").unwrap().len(), 1);
        assert_eq!(parse_ranges(" 10.1.0.0/24, fd00::/64 ").unwrap().len(), 2);
        for bad in ["10.1.0.0/24,10.2.0.0/24", "10.1.0.0", "10.1.0.0/24,fd00::/64,fd01::/64", ","] {
            assert!(parse_ranges(bad).is_err(), "{bad}");
        }
    }
}
