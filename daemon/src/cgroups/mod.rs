//! The host's cgroups: which hierarchies there are, where a container's and a shim's place is in them, and how
//! a place is emptied.
//!
//! Owns: paths below the cgroup root. Never: limits; those are the runtime's work. Never makes a folder that is
//! systemd's to make, where it is there.

pub mod grace;
mod tree;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use protocol::ids::ContainerId;

use self::tree::{append, kill_v1, kill_v2, members, remove_tree, tree};
use crate::{config::CgroupDriver, sys::pidfd::PidFd, systemd};

const ROOT: &str = "/sys/fs/cgroup";

/// Times that a scope is looked for and asked for: one is the rule, a second where it ended between the two.
const SCOPE_ROUNDS: usize = 3;

/// v1 hierarchies that a shim joins: what its memory and its count of processes are charged to, and what
/// systemd kills by. Each move costs a grace period of the kernel, so no more than these.
const SHIM_HIERARCHIES: [&str; 4] = ["memory", "pids", "systemd", "unified"];

/// Where a cgroup's use is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatFolders {
    /// One folder in each hierarchy.
    V1 {
        /// Processor time.
        cpuacct: PathBuf,
        /// Memory.
        memory: PathBuf,
        /// Processes.
        pids: PathBuf,
    },
    /// One folder for all.
    V2(PathBuf),
}

/// The processes of one container, looked up each time they are asked for.
#[derive(Debug, Clone)]
pub struct Members(PathBuf);

impl Members {
    /// Their ids now, those in cgroups below included.
    pub fn pids(&self) -> Vec<i32> {
        tree(&self.0).iter().flat_map(|folder| members(folder)).collect()
    }
}

/// v1 hierarchies that a pod's first process joins: by the first it is killed, by the others counted. Others refuse
/// a process until they are set up.
const INIT_HIERARCHIES: [&str; 4] = ["freezer", "memory", "pids", "systemd"];

/// The cgroups of this host as one daemon uses them.
#[derive(Debug, Clone)]
pub struct Cgroups {
    driver: CgroupDriver,
    instance: String,
    shim_cgroup: String,
    /// Mount points; one for v2, else one for each v1 hierarchy (and the hybrid's v2).
    hierarchies: Vec<PathBuf>,
    v2: bool,
}

impl Cgroups {
    /// Looks at the host.
    pub fn detect(driver: CgroupDriver, instance: &str, shim_cgroup: &str) -> Self {
        let root = Path::new(ROOT);
        let v2 = root.join("cgroup.controllers").exists();
        let hierarchies = if v2 { vec![root.to_owned()] } else { v1_hierarchies(root) };
        let (instance, shim_cgroup) = (instance.to_owned(), shim_cgroup.to_owned());
        Self { driver, instance, shim_cgroup, hierarchies, v2 }
    }

    /// Whether the host has the unified hierarchy only.
    pub fn is_v2(&self) -> bool {
        self.v2
    }

    /// The driver in use.
    pub fn driver(&self) -> CgroupDriver {
        self.driver
    }

    /// Whether a controller is there for runtimes to use; the hybrid's v2 tree is none of theirs.
    pub fn has_controller(&self, name: &str) -> bool {
        if self.v2 {
            let all = fs::read_to_string(Path::new(ROOT).join("cgroup.controllers")).unwrap_or_default();
            return all.split_whitespace().any(|controller| controller == name);
        }
        Path::new(ROOT).join(name).join("cgroup.procs").exists()
    }

    /// Whether swap can be limited: v1 has the file where the kernel counts swap; v2 wherever there is memory.
    pub fn limits_swap(&self) -> bool {
        if self.v2 {
            return self.has_controller("memory") && Path::new("/proc/swaps").exists();
        }
        Path::new(ROOT).join("memory/memory.memsw.limit_in_bytes").exists()
    }

    /// The parent of a pod that names none.
    pub fn default_parent(&self) -> String {
        match self.driver {
            CgroupDriver::Cgroupfs => format!("/{}", self.instance),
            CgroupDriver::Systemd => format!("{}.slice", self.instance.replace('-', "_")),
        }
    }

    /// Checks a parent that was asked for: an absolute path, or the slice of a path with the systemd driver (the
    /// kubelet gives the whole path there).
    pub fn check_parent(&self, parent: &str) -> Result<String, String> {
        match self.driver {
            _ if parent.is_empty() => Ok(String::new()),
            CgroupDriver::Cgroupfs if parent.starts_with('/') => Ok(parent.to_owned()),
            CgroupDriver::Cgroupfs => Err(format!(
                "cgroup_parent {parent:?} must be an absolute path: the cgroup driver is cgroupfs"
            )),
            CgroupDriver::Systemd => match parent.rsplit('/').next() {
                Some(slice) if slice.ends_with(".slice") && slice.len() > ".slice".len() => {
                    Ok(slice.to_owned())
                }
                _ => Err(format!(
                    "cgroup_parent {parent:?} must end with a .slice: the cgroup driver is systemd"
                )),
            },
        }
    }

    /// What the spec's `linux.cgroupsPath` says for a container under this parent.
    pub fn spec_path(&self, parent: &str, id: &ContainerId) -> String {
        match self.driver {
            CgroupDriver::Cgroupfs => format!("{}/{id}", parent.trim_end_matches('/')),
            CgroupDriver::Systemd => format!("{parent}:{}:{id}", self.instance),
        }
    }

    /// The container's path below each hierarchy.
    fn relative(&self, parent: &str, id: &ContainerId) -> PathBuf {
        match self.driver {
            CgroupDriver::Cgroupfs => Path::new(parent.trim_start_matches('/')).join(id.as_str()),
            CgroupDriver::Systemd => expand_slice(parent).join(format!("{}-{id}.scope", self.instance)),
        }
    }

    /// The container's folders, one in each hierarchy, whether they exist or not.
    pub fn folders(&self, parent: &str, id: &ContainerId) -> Vec<PathBuf> {
        let relative = self.relative(parent, id);
        self.hierarchies.iter().map(|h| h.join(&relative)).collect()
    }

    /// Where a container's use is read.
    pub fn stat_folders(&self, parent: &str, id: &ContainerId) -> StatFolders {
        self.stat_folders_of(&self.relative(parent, id))
    }

    /// Where the use of all below a parent is read.
    pub fn parent_stat_folders(&self, parent: &str) -> StatFolders {
        self.stat_folders_of(&match self.driver {
            CgroupDriver::Cgroupfs => PathBuf::from(parent.trim_start_matches('/')),
            CgroupDriver::Systemd => expand_slice(parent),
        })
    }

    fn stat_folders_of(&self, relative: &Path) -> StatFolders {
        let root = Path::new(ROOT);
        if self.v2 {
            return StatFolders::V2(root.join(relative));
        }
        let of = |hierarchy: &str| root.join(hierarchy).join(relative);
        StatFolders::V1 { cpuacct: of("cpuacct"), memory: of("memory"), pids: of("pids") }
    }

    /// The folders that a shim is told of.
    pub fn for_shim(&self, parent: &str, id: &ContainerId) -> protocol::shim::Cgroups {
        let relative = self.relative(parent, id);
        let mut told = protocol::shim::Cgroups::new();
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        if self.v2 {
            told.unified = text(Path::new(ROOT).join(relative));
        } else {
            told.memory = text(Path::new(ROOT).join("memory").join(&relative));
            told.freezer = text(Path::new(ROOT).join("freezer").join(&relative));
        }
        told
    }

    /// Moves a newborn shim out of the daemon's cgroup, so that what kills the daemon does not kill it. A cgroup whose
    /// name ends with `.scope` is systemd's to make, with the first that comes; it lasts until the last has left.
    pub fn place_shim(&self, pid: u32) -> io::Result<()> {
        let path = Path::new(&self.shim_cgroup);
        let Some(scope) = scope_of(path).filter(|_| systemd::is_there()) else {
            return self.place(pid, path, &SHIM_HIERARCHIES);
        };
        for _ in 0..SCOPE_ROUNDS {
            // One that is just being removed takes nobody in any more.
            if self.folder_of(path).exists() && self.join(pid, path, &SHIM_HIERARCHIES).is_ok() {
                return Ok(());
            }
            if let Err(error) = systemd::start_scope(scope, &slice_of(path), pid) {
                // Somebody else may have been faster.
                if !self.folder_of(path).exists() {
                    tracing::warn!(%error, "systemd gives shims no scope: their cgroup is made without it");
                    break;
                }
            }
        }
        self.place(pid, path, &SHIM_HIERARCHIES)
    }

    /// Processes where shims and keepers are.
    pub fn supervisors(&self) -> Vec<i32> {
        members(&self.folder_of(Path::new(&self.shim_cgroup)))
    }

    /// Makes a place of one's own under a parent and moves a process there, where it can be found, limited and killed.
    pub fn take_in(&self, parent: &str, id: &ContainerId, pid: u32) -> io::Result<()> {
        let relative = self.relative(parent, id);
        match (self.driver, scope_of(&relative)) {
            (CgroupDriver::Systemd, Some(scope)) => systemd::start_scope(scope, parent, pid),
            _ => self.place(pid, &relative, &INIT_HIERARCHIES),
        }
    }

    /// Makes a cgroup and moves a process there.
    fn place(&self, pid: u32, path: &Path, v1: &[&str]) -> io::Result<()> {
        self.chosen(path, v1).iter().try_for_each(fs::create_dir_all)?;
        self.join(pid, path, v1)
    }

    /// Moves a process into a cgroup that is there.
    fn join(&self, pid: u32, path: &Path, v1: &[&str]) -> io::Result<()> {
        let folders = self.chosen(path, v1);
        folders.iter().try_for_each(|folder| append(&folder.join("cgroup.procs"), &pid.to_string()))
    }

    /// The folders of a cgroup in the hierarchies of these names; v2 has one for all.
    fn chosen(&self, path: &Path, v1: &[&str]) -> Vec<PathBuf> {
        let named = |hierarchy: &&PathBuf| {
            let name = hierarchy.file_name().and_then(|name| name.to_str());
            self.v2 || name.is_some_and(|name| v1.contains(&name))
        };
        self.hierarchies.iter().filter(named).map(|h| h.join(below_root(path))).collect()
    }

    /// The folder by which systemd knows a cgroup.
    fn folder_of(&self, path: &Path) -> PathBuf {
        Path::new(ROOT).join(if self.v2 { "" } else { "systemd" }).join(below_root(path))
    }

    /// Kills every process of such a place and waits until none is left.
    pub fn end(&self, parent: &str, id: &ContainerId, patience: Duration) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            let members = self.members(parent, id);
            let handles: Vec<PidFd> = members
                .pids()
                .into_iter()
                .filter_map(|pid| PidFd::open(pid).transpose())
                .collect::<Result<_, _>>()?;
            if handles.is_empty() {
                return Ok(());
            }
            self.kill(parent, id)?;
            for handle in handles {
                if !handle.ends_within(patience.saturating_sub(begun.elapsed()))? {
                    return Err(io::Error::other(format!(
                        "it does not end within {patience:?} after SIGKILL"
                    )));
                }
            }
        }
    }

    /// The processes of a container.
    pub fn members(&self, parent: &str, id: &ContainerId) -> Members {
        let below = Path::new(ROOT).join(if self.v2 { "" } else { "freezer" });
        Members(below.join(self.relative(parent, id)))
    }

    /// Kills every process of a container and waits for none of them.
    pub fn kill(&self, parent: &str, id: &ContainerId) -> io::Result<()> {
        let relative = self.relative(parent, id);
        if self.v2 {
            return kill_v2(&Path::new(ROOT).join(relative));
        }
        kill_v1(&Path::new(ROOT).join("freezer").join(relative))
    }

    /// Whether this process is one of the container's.
    pub fn holds(&self, parent: &str, id: &ContainerId, pid: i32) -> bool {
        let folder = self.killing_folder(&self.relative(parent, id));
        tree(&folder).iter().any(|folder| members(folder).contains(&pid))
    }

    /// The folder by which processes are found and killed.
    fn killing_folder(&self, relative: &Path) -> PathBuf {
        Path::new(ROOT).join(if self.v2 { "" } else { "freezer" }).join(relative)
    }

    /// Whether a process of the container is left.
    pub fn is_empty(&self, parent: &str, id: &ContainerId) -> bool {
        self.members(parent, id).pids().is_empty()
    }

    /// Removes what is left of a container's cgroups. Finds them gone: fine.
    pub fn remove(&self, parent: &str, id: &ContainerId) -> io::Result<()> {
        self.folders(parent, id).iter().try_for_each(|folder| remove_tree(folder))
    }

    /// Removes the instance's own empty folders; called when the daemon ends. What is still in use stays.
    pub fn remove_instance(&self) {
        let parent = self.default_parent();
        let mut places = vec![];
        match self.driver {
            CgroupDriver::Cgroupfs => places.push(PathBuf::from(below_root(Path::new(&parent)))),
            CgroupDriver::Systemd => self.stop_slice(&parent),
        }
        // A scope goes by itself.
        let shims = Path::new(&self.shim_cgroup);
        if scope_of(shims).is_none() || !systemd::is_there() {
            places.push(below_root(shims).to_owned());
        }
        for hierarchy in &self.hierarchies {
            for place in &places {
                fs::remove_dir(hierarchy.join(place)).ok();
            }
        }
    }

    /// Has systemd forget an empty slice: one that vanished behind its back would come back without its controllers.
    fn stop_slice(&self, name: &str) {
        let folder = self.folder_of(&expand_slice(name));
        // Stopping a slice ends what is in it.
        if !folder.exists() || tree(&folder).iter().any(|folder| !members(folder).is_empty()) {
            return;
        }
        if let Err(error) = systemd::stop_slice(name) {
            tracing::warn!(%error, name, "an empty slice stays");
        }
    }
}

/// A cgroup's path without its leading slash, so that it can be joined to a mount point.
fn below_root(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// The name of a scope, where a path is one's.
fn scope_of(path: &Path) -> Option<&str> {
    path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".scope"))
}

/// The slice that a path lies in; systemd's root where there is none.
fn slice_of(path: &Path) -> String {
    let parent = path.parent().and_then(|parent| parent.file_name()).and_then(|name| name.to_str());
    parent.unwrap_or("-.slice").to_owned()
}

/// The mount points of v1 hierarchies: folders of `/sys/fs/cgroup` (links like `cpu,cpuacct` have one target).
fn v1_hierarchies(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| fs::canonicalize(entry.ok()?.path()).ok())
        .filter(|path| path.join("cgroup.procs").exists())
        .collect();
    found.sort();
    found.dedup();
    found
}

/// `a-b.slice` lies in `a.slice/a-b.slice` (systemd.slice(5)).
fn expand_slice(slice: &str) -> PathBuf {
    let stem = slice.trim_end_matches(".slice");
    let mut path = PathBuf::new();
    let mut so_far = String::new();
    for part in stem.split('-').filter(|part| !part.is_empty()) {
        if !so_far.is_empty() {
            so_far.push('-');
        }
        so_far.push_str(part);
        path.push(format!("{so_far}.slice"));
    }
    path
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use protocol::ids::ContainerId;

    use super::{CgroupDriver, Cgroups, expand_slice};

    #[test]
    fn parents_as_the_kubelet_names_them() {
        let systemd = Cgroups::detect(CgroupDriver::Systemd, "taffrail", "/shims");
        let whole = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podab_cd.slice";
        let slice = systemd.check_parent(whole).unwrap();
        assert_eq!(slice, "kubepods-burstable-podab_cd.slice");
        assert_eq!(systemd.check_parent("/test.slice").as_deref(), Ok("test.slice"));
        assert!(systemd.check_parent("/kubepods/pod1").is_err() && systemd.check_parent("/.slice").is_err());
        let id = ContainerId::parse(&"a".repeat(64)).unwrap();
        assert_eq!(systemd.spec_path(&slice, &id), format!("{slice}:taffrail:{id}"));
        let at = systemd.relative(&slice, &id);
        assert_eq!(at, Path::new(&whole[1..]).join(format!("taffrail-{id}.scope")), "below the pod's own");
        let plain = Cgroups::detect(CgroupDriver::Cgroupfs, "taffrail", "/shims");
        let parent = plain.check_parent("/kubepods/burstable/pod1").unwrap();
        assert_eq!(plain.spec_path(&parent, &id), format!("/kubepods/burstable/pod1/{id}"));
        assert!(plain.check_parent("kubepods.slice").is_err());
    }

    #[test]
    fn slices_are_nested_by_their_dashes() {
        assert_eq!(
            expand_slice("kubepods-besteffort-pod1.slice"),
            Path::new("kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice")
        );
    }
}
