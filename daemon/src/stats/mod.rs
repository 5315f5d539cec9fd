//! What containers and pods use: processor, memory, processes, network, disk, read from the kernel when asked.
//!
//! Owns: the last samples, from which rates are told, and the measured sizes of writable layers. Never: makes
//! up a figure; what cannot be read is absent.

mod cgroup_v1;
mod cgroup_v2;
mod disk;
mod network;
mod pressure;
mod rates;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use disk::DiskUsage;
pub use network::{Interface, networks};
pub use pressure::{Pressure, Stall};

use crate::{cgroups::StatFolders, clock};
use disk::Disks;
use rates::Rates;

/// Memory of a cgroup, in bytes where not said otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// All of it, caches too.
    pub usage: u64,
    /// Without the file pages that can be dropped at once: what the kubelet evicts by.
    pub working_set: u64,
    /// The limit; `None`: there is none.
    pub limit: Option<u64>,
    /// Anonymous pages.
    pub rss: u64,
    /// Page faults, a count.
    pub page_faults: u64,
    /// Page faults that read a disk, a count.
    pub major_page_faults: u64,
    /// Swap in use; `None`: the host does not count it.
    pub swap_usage: Option<u64>,
    /// Swap that may be used; `None`: without a bound.
    pub swap_limit: Option<u64>,
}

/// One look at a cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// When, in nanoseconds since the epoch.
    pub at: i64,
    /// Processor time since the cgroup was made, in nanoseconds.
    pub cpu_nanos: u64,
    /// Nanoseconds of processor time in a second, over the time since the sample before; `None`: the first.
    pub cpu_rate: Option<u64>,
    /// Memory.
    pub memory: Memory,
    /// Processes and threads; `None`: not counted here.
    pub tasks: Option<u64>,
    /// Stalls for want of a processor, where the kernel tells (cgroup v2, PSI).
    pub cpu_pressure: Option<Pressure>,
    /// Stalls for want of memory.
    pub memory_pressure: Option<Pressure>,
    /// Stalls for want of the disk.
    pub io_pressure: Option<Pressure>,
}

impl Usage {
    /// The sum of two, for pods whose containers share no cgroup of the pod's own. Stalls cannot be added.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        let add = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (one, other) => one.or(other),
        };
        let (mine, more) = (&mut self.memory, &other.memory);
        self.cpu_nanos = self.cpu_nanos.saturating_add(other.cpu_nanos);
        self.cpu_rate = add(self.cpu_rate, other.cpu_rate);
        self.tasks = add(self.tasks, other.tasks);
        mine.usage = mine.usage.saturating_add(more.usage);
        mine.working_set = mine.working_set.saturating_add(more.working_set);
        mine.rss = mine.rss.saturating_add(more.rss);
        mine.page_faults = mine.page_faults.saturating_add(more.page_faults);
        mine.major_page_faults = mine.major_page_faults.saturating_add(more.major_page_faults);
        mine.swap_usage = add(mine.swap_usage, more.swap_usage);
        mine.limit = None;
        mine.swap_limit = None;
        (self.cpu_pressure, self.memory_pressure, self.io_pressure) = (None, None, None);
        self.at = self.at.max(other.at);
        self
    }
}

/// What the keys of pods' samples begin with; a container's is its id.
const POD_KEYS: &str = "pod/";

/// The samples. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    rates: Arc<Rates>,
    disks: Disks,
}

impl Stats {
    /// Looks at a cgroup now. `key` tells whose sample before is compared. `Ok(None)`: there is none such, or it
    /// went away meanwhile. Blocking, for as long as the kernel takes.
    pub fn usage(&self, key: &str, folders: &StatFolders) -> io::Result<Option<Usage>> {
        let mut usage = look(folders)?;
        if let Some(usage) = &mut usage {
            usage.cpu_rate = self.rates.rate(key, usage.at, usage.cpu_nanos);
        }
        Ok(usage)
    }

    /// What a writable layer holds, as last measured; `None`: not known yet. Must be called inside the executor, from a
    /// thread that may block.
    pub fn disk(&self, key: &str, folder: &Path) -> Option<DiskUsage> {
        self.disks.usage(key, folder)
    }

    /// The key of a pod's samples.
    pub fn pod_key(id: &str) -> String {
        format!("{POD_KEYS}{id}")
    }

    /// Forgets the samples of containers that are not there any more.
    pub fn keep_containers(&self, there: impl Fn(&str) -> bool) {
        self.keep_only(|key| key.starts_with(POD_KEYS) || there(key));
    }

    /// Forgets the samples of pods that are not there any more.
    pub fn keep_pods(&self, there: impl Fn(&str) -> bool) {
        self.keep_only(|key| key.strip_prefix(POD_KEYS).is_none_or(&there));
    }

    fn keep_only(&self, there: impl Fn(&str) -> bool) {
        self.rates.keep_only(&there);
        self.disks.keep_only(&there);
    }
}

/// Looks at a cgroup now, without a rate: that needs a sample before. `Ok(None)`: there is none such, or it went away
/// meanwhile. Blocking, for as long as the kernel takes.
pub fn look(folders: &StatFolders) -> io::Result<Option<Usage>> {
    let read = match folders {
        StatFolders::V1 { cpuacct, memory, pids } => cgroup_v1::read(cpuacct, memory, pids),
        StatFolders::V2(folder) => cgroup_v2::read(folder),
    };
    match read {
        Ok(usage) => Ok(Some(Usage { at: clock::now_nanos(), ..usage })),
        // ENODEV: the cgroup was removed while its file was open (kernfs).
        Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Reads one number of a file; `max` (v2) and what v1 writes for "no limit" come out as they are.
fn number(path: PathBuf) -> io::Result<u64> {
    let text = std::fs::read_to_string(&path)?;
    text.trim().parse().map_err(|_| io::Error::other(format!("{}: {:?} is no number", path.display(), text)))
}

/// The value of a line `name value`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}
