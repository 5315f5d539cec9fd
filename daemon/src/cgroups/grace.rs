//! The grace period for which the kernel makes a process wait before it changes its cgroup, begun ahead of whoever will.
//!
//! Owns: one such write at a time. Never: moves a process; waits; an error, since nothing but time is lost.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use super::{Cgroups, ROOT, below_root, tree::append};
use crate::tasks::{self, Pool, blocking};

static UNDER_WAY: AtomicBool = AtomicBool::new(false);

/// Has the kernel begin, and comes back at once.
///
/// A write to any `cgroup.procs` takes the lock that holds all forks off (`cgroup_threadgroup_rwsem` of
/// kernel/cgroup/cgroup.c, of every hierarchy). The first after a while waits for a grace period of RCU (12 ms at 250 Hz),
/// those that come until another one has passed do not (kernel/rcu/sync.c). A runtime comes to its own write some
/// 8 ms after its start, so most of the time has passed by then. Mounted with `favordynmods` (6.0) nobody waits.
pub fn begin(cgroups: &Cgroups) {
    if UNDER_WAY.swap(true, Ordering::Relaxed) {
        return;
    }
    let is_v2 = cgroups.is_v2();
    tasks::spawn("kernel's grace period", async move {
        if let Err(error) = blocking(Pool::Disk, move || move_nowhere(is_v2)).await {
            tracing::debug!(%error, "runtimes wait for the kernel's grace period themselves");
        }
        UNDER_WAY.store(false, Ordering::Relaxed);
    });
}

/// This process goes where it is: the kernel takes the lock, finds nothing to do and lets it go.
fn move_nowhere(is_v2: bool) -> io::Result<()> {
    let table = fs::read_to_string("/proc/self/cgroup")?;
    let mut places = table.lines().filter_map(|line| own_folder(line, is_v2));
    let place = places.find(|place| place.join("cgroup.procs").exists()).ok_or(io::ErrorKind::NotFound)?;
    append(&place.join("cgroup.procs"), "0")
}

/// The folder that a line of /proc/self/cgroup tells (cgroups(7)): number, controllers or name, path.
fn own_folder(line: &str, is_v2: bool) -> Option<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let mount = match controllers.strip_prefix("name=").unwrap_or(controllers) {
        "" if is_v2 => "",
        "" => "unified",
        name => name,
    };
    let path = below_root(Path::new(path));
    // Outside the name space of this process, or removed.
    let is_foreign = path.starts_with("..") || path.to_string_lossy().ends_with(" (deleted)");
    (!is_foreign).then(|| Path::new(ROOT).join(mount).join(path))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Cgroups, fs, move_nowhere, own_folder};
    use crate::config::CgroupDriver;

    #[test]
    fn own_folders() {
        for (line, is_v2, folder) in [
            ("0::/system.slice/taffrail.service", true, "/sys/fs/cgroup/system.slice/taffrail.service"),
            ("0::/", false, "/sys/fs/cgroup/unified/"),
            ("4:memory:/a/b:c", false, "/sys/fs/cgroup/memory/a/b:c"),
            ("9:name=systemd:/", false, "/sys/fs/cgroup/systemd/"),
            ("1:cpu,cpuacct:/x", false, "/sys/fs/cgroup/cpu,cpuacct/x"),
        ] {
            assert_eq!(own_folder(line, is_v2).as_deref(), Some(Path::new(folder)), "{line}");
        }
        for line in ["", "0:", "0::/../other", "0::/gone (deleted)"] {
            assert_eq!(own_folder(line, true), None, "{line}");
        }
    }

    #[test]
    fn nobody_is_moved() {
        let before = fs::read_to_string("/proc/self/cgroup").unwrap();
        let is_v2 = Cgroups::detect(CgroupDriver::Cgroupfs, "taffrail", "/shims").is_v2();
        if let Err(error) = move_nowhere(is_v2) {
            println!("this host does not let it: {error}");
        }
        assert_eq!(fs::read_to_string("/proc/self/cgroup").unwrap(), before);
    }
}
