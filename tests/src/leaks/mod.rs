//! What a daemon has on the host, as lists that can be compared: after a test there may be nothing more than before
//! it, and when the daemon has ended nothing may be left at all.
//!
//! What comes and goes by its nature (process ids, inode numbers) is counted by its name instead.
//! Owns: what counts as a leak. Never: cleans up.

mod descriptors;
mod machine;
mod namespaces;
mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
};

use crate::{
    limits::CGROUP_DEPTH,
    network::Network,
    nursery::{Nursery, Process, processes},
};

/// Where to look.
#[derive(Debug, Clone)]
pub struct Places {
    /// The test's folder, or several: everything below is the daemon's.
    pub folders: Vec<PathBuf>,
    /// What survives a reboot, with the store.
    pub root: PathBuf,
    /// Folders whose files are compared.
    pub files: Vec<PathBuf>,
    /// Name of the daemon among those of the host; cgroups of this name are its own.
    pub instance: String,
}

/// Among which processes to look, and in whose network.
#[derive(Debug, Clone, Copy)]
pub enum Below<'a> {
    /// What a nursery has below it.
    Nursery(&'a Nursery),
    /// Processes of a whole node whose names begin so.
    Node(&'a [&'a str]),
}

impl<'a> From<&'a Nursery> for Below<'a> {
    fn from(nursery: &'a Nursery) -> Self {
        Self::Nursery(nursery)
    }
}

impl Below<'_> {
    /// The process whose namespaces are everybody's.
    fn pid(self) -> u32 {
        match self {
            Self::Nursery(nursery) => nursery.pid(),
            Self::Node(_) => 1,
        }
    }

    fn processes(self) -> Vec<Process> {
        match self {
            Self::Nursery(nursery) => nursery.descendants(),
            Self::Node(names) => {
                let all = processes().into_iter();
                all.filter(|process| names.iter().any(|name| process.name.starts_with(name))).collect()
            }
        }
    }
}

/// The keeper's process.
const KEEPER: &str = "taffrail-keeper";

/// How many there are of each name.
type Counts = BTreeMap<String, usize>;

/// The lists. Each is sorted, so that a difference can be said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    lists: BTreeMap<&'static str, Counts>,
}

/// What one snapshot has more than another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference(Vec<String>);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Snapshot {
    /// Looks at the host. `daemon`: its process, whose descriptors are counted; `None`: it has ended.
    pub fn take<'a>(places: &Places, among: impl Into<Below<'a>>, daemon: Option<u32>) -> Self {
        let mut lists = BTreeMap::new();
        let among = among.into();
        let below = among.processes();
        let counted = |names: BTreeSet<String>| names.into_iter().map(|name| (name, 1)).collect();
        lists.insert("mount", counted(mounts(&places.folders)));
        lists.insert("cgroup", counted(cgroups(&places.instance)));
        lists.insert("mount in another namespace", namespaces::mounts_elsewhere(&places.folders));
        lists.insert("namespace", namespaces::lived_in(among.pid(), &below));
        lists.insert("process", living(&below, daemon, places));
        lists.insert("socket", descriptors::sockets(among.pid(), &below));
        lists.insert("deleted file", descriptors::held_though_gone(&places.folders, &below));
        lists.insert("store fault", store::faults(&places.root));
        lists.insert("setting of the host", machine::settings());
        lists.insert("stray", machine::strays(&places.folders));
        lists.insert("file", counted(places.files.iter().flat_map(|folder| files(folder)).collect()));
        lists.insert("descriptor", daemon.map(descriptors::by_kind).unwrap_or_default());
        lists.insert("descriptor to inherit", daemon.map(descriptors::inherited).unwrap_or_default());
        let keeper = below.iter().find(|process| process.name == KEEPER && process.state != 'Z');
        lists.insert(
            "descriptor of the keeper",
            keeper.map(|keeper| descriptors::of_keeper(keeper.pid, &below)).unwrap_or_default(),
        );
        lists.insert("held network namespace", counted(network_namespaces(among.pid(), daemon, &below)));
        let network = Network::of(among.pid());
        lists.insert("link", said(&network, &["ip", "-o", "link"], |line| line.split(": ").nth(1)));
        lists.insert("address", said(&network, &["ip", "-o", "addr"], own_address));
        lists.insert("route", said(&network, &["ip", "route", "show", "table", "all"], own_route));
        if crate::host::find("nft").is_some() {
            lists.insert("firewall", said(&network, &["nft", "-snn", "list", "ruleset"], |line| Some(line)));
        }
        Self { lists }
    }

    /// What `self` has more than `before`.
    pub fn more_than(&self, before: &Self) -> Option<Difference> {
        let empty = Counts::new();
        let mut found = Vec::new();
        for (kind, now) in &self.lists {
            let then = before.lists.get(kind).unwrap_or(&empty);
            for (name, count) in now {
                let had = then.get(name).copied().unwrap_or_default();
                if *count > had {
                    found.push(format!("{kind} left over: {name} ({count}, before {had})"));
                }
            }
        }
        (!found.is_empty()).then_some(Difference(found))
    }

    /// The cgroups of the instance, parents first.
    pub fn cgroups(places: &Places) -> BTreeSet<String> {
        cgroups(&places.instance)
    }

    /// Only the lists that must be empty when no daemon runs.
    pub fn without_files(mut self) -> Self {
        for list in ["file", "setting of the host"] {
            self.lists.remove(list);
        }
        self
    }

    /// One list more, of what only a daemon's client can see.
    pub fn with(mut self, kind: &'static str, names: impl IntoIterator<Item = String>) -> Self {
        let list = self.lists.entry(kind).or_default();
        for name in names {
            *list.entry(name).or_default() += 1;
        }
        self
    }
}

/// Mount points below the folders, or of something below them, as this process sees them: the daemon shares its mount
/// namespace with us.
fn mounts(folders: &[PathBuf]) -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo can be read");
    let lines =
        text.lines().filter(|line| folders.iter().any(|folder| line.contains(&*folder.to_string_lossy())));
    lines.filter_map(|line| line.split(' ').nth(4)).map(str::to_owned).collect()
}

/// Cgroups of the instance, in every hierarchy.
fn cgroups(instance: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let slice = instance.replace('-', "_");
    search(Path::new("/sys/fs/cgroup"), CGROUP_DEPTH, &mut |path| {
        // What is below one of them too, whatever its name.
        let path = path.to_string_lossy();
        if path.contains(instance) || path.contains(&slice) {
            found.insert(path.into_owned());
        }
    });
    found
}

fn search(folder: &Path, depth: usize, see: &mut impl FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        // Links (`cpu` to `cpu,cpuacct`) would be seen twice.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            see(&entry.path());
            if depth > 0 {
                search(&entry.path(), depth - 1, see);
            }
        }
    }
}

/// Processes of the daemon's: below the nursery, zombies too, and whatever is in its cgroups.
fn living(below: &[Process], daemon: Option<u32>, places: &Places) -> Counts {
    let mut found = Counts::new();
    for process in below.iter().filter(|process| Some(process.pid) != daemon) {
        let how = match process.state {
            'Z' => " (zombie)",
            // One look may meet a write; one that lasts is stuck in the kernel.
            'D' => " (uninterruptible)",
            _ => "",
        };
        *found.entry(format!("{}{how}", process.name)).or_default() += 1;
    }
    let marker = format!("/{}", places.instance);
    for process in processes() {
        let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).unwrap_or_default();
        if cgroup.contains(&marker) && Some(process.pid) != daemon {
            *found.entry(format!("{} in a cgroup of {}", process.name, places.instance)).or_default() += 1;
        }
    }
    found
}

/// Every path below a folder.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for entry in entries.filter_map(Result::ok) {
            found.insert(entry.path().to_string_lossy().into_owned());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
        }
    }
    found
}

/// Lines that a program says about the daemon's network, each by the part that stays the same.
fn said(network: &Network, words: &[&str], part: fn(&str) -> Option<&str>) -> Counts {
    let mut found = Counts::new();
    let text = network.run(words);
    // Loopback is the nursery's.
    let lines = text.lines().map(str::trim).filter(|line| !line.contains(" lo ") && !line.contains(" lo: "));
    for name in lines.filter_map(part).filter(|name| !name.is_empty()) {
        *found.entry(name.to_owned()).or_default() += 1;
    }
    found
}

/// Device and address, as `3: br0    inet 10.0.0.1/16 brd ...`; those the kernel makes by itself come and go.
fn own_address(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(": ")?;
    let address = rest.split_whitespace().nth(2)?;
    let end = rest.find(address)? + address.len();
    (!address.starts_with("fe80:")).then(|| &rest[..end])
}

/// Routes that somebody made; the kernel's own follow from the addresses.
fn own_route(line: &str) -> Option<&str> {
    (!line.contains(" proto kernel ")).then_some(line)
}

/// Network namespaces, other than that of all of them, that a process below the nursery lives in or that the daemon holds open.
fn network_namespaces(everybody: u32, daemon: Option<u32>, below: &[Process]) -> BTreeSet<String> {
    let own = fs::read_link(format!("/proc/{everybody}/ns/net")).unwrap_or_default();
    let lived_in = below.iter().filter_map(|p| fs::read_link(format!("/proc/{}/ns/net", p.pid)).ok());
    let fds = daemon.and_then(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok());
    let held = fds.into_iter().flatten().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let held = held.filter(|target| target.to_string_lossy().starts_with("net:["));
    lived_in.chain(held).filter(|ns| *ns != own).map(|ns| ns.to_string_lossy().into_owned()).collect()
}
