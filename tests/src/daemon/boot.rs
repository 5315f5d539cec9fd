//! What happens to the host below a daemon: another boot, a power switch, a state folder that is gone.
//!
//! Owns: the wiping. Never: touches what is not below the test's folder or its nursery.

use std::{fs, io::Write, path::Path};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::Daemon;
use crate::{eventually::eventually, leaks::Snapshot, limits::SOON, nursery::Nursery};

impl Daemon {
    /// The beginning of a command line that lets a program see another boot's id.
    pub(super) fn in_boot(&self) -> Vec<String> {
        let Some(id) = &self.options.boot_id else { return Vec::new() };
        let file = self.path("boot_id");
        fs::File::create(&file).and_then(|mut file| writeln!(file, "{id}")).expect("/tmp can be written");
        let script =
            "mount --make-rprivate / && mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
        let words = ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", script];
        words.map(str::to_owned).into_iter().chain([file.to_string_lossy().into_owned()]).collect()
    }

    /// The host ends as by its power switch: every process of the daemon's, all mounts, the state folder. The next start
    /// finds this boot id; `None`: the true one.
    pub fn reboot(&mut self, boot_id: Option<&str>) {
        self.kill9();
        // The keeper first, or it would replace the shims; these then, or they would tell of their containers' ends.
        for name in ["taffrail-keeper", "taffrail-shim", ""] {
            eventually(SOON, "the end of all processes", || {
                let below = self.nursery.descendants();
                let left: Vec<_> = below.iter().filter(|process| process.name.starts_with(name)).collect();
                for process in &left {
                    kill(Pid::from_raw(process.pid.cast_signed()), Signal::SIGKILL).ok();
                }
                left.is_empty().then_some(())
            });
        }
        self.unmount();
        for folder in ["state", "netns"] {
            fs::remove_dir_all(self.path(folder)).expect("nothing is mounted there any more");
        }
        for cgroup in Snapshot::cgroups(&self.places).iter().rev() {
            // Those of v1's named hierarchies may be shared.
            fs::remove_dir(cgroup).ok();
        }
        self.options.boot_id = boot_id.map(str::to_owned);
    }

    /// The daemon is killed and its state folder wiped, while all that it had started goes on.
    pub fn lose_state(&mut self) {
        self.kill9();
        self.unmount();
        for folder in ["state", "netns"] {
            fs::remove_dir_all(self.path(folder)).expect("nothing is mounted there any more");
        }
    }

    /// The host has gone down, whatever ran: every process is gone at once, and with it what only memory held, the
    /// network too. The next start finds this boot id.
    pub fn power_off(&mut self, boot_id: &str) {
        self.sweep();
        self.nursery = Nursery::new();
        self.pid = None;
        self.options.boot_id = Some(boot_id.to_owned());
        for folder in ["state", "netns"] {
            // Not there: fine.
            fs::remove_dir_all(self.path(folder)).ok();
        }
    }

    /// Takes away every mount below the test's folder.
    pub(super) fn unmount(&self) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        let mut points: Vec<&Path> =
            points.map(Path::new).filter(|point| point.starts_with(self.folder.path())).collect();
        points.reverse();
        for point in points {
            // Best effort: the test has failed already.
            nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH).ok();
        }
    }
}
