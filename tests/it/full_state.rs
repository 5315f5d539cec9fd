//! The state folder's file system, which is memory, is full, or has no inodes left: what runs goes on, stop, remove and
//! list work, also after a start; what needs room is refused with a word and leaves nothing. When there is room again all
//! is well.
//!
//! The daemon's disk and the logs have their own, with room; `full_disk` fills the disk.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tests::{
    ask,
    daemon::{Daemon, Options},
    eventually::eventually,
    host, image_file,
    limits::SOON,
};

use crate::full::{Cast, Full, is_refused, put};

/// What a state folder of some containers needs, and a little more.
const SIZE: &str = "size=2m,nr_inodes=1k";

/// A small file system in memory for all files of a test's daemon, but those that have their place outside of it.
struct Small {
    at: TempDir,
    outside: TempDir,
}

impl Small {
    fn new() -> Self {
        let folder = |prefix| tempfile::Builder::new().prefix(prefix).tempdir_in("/tmp").unwrap();
        let (at, outside) = (folder("tt-state."), folder("tt-rest."));
        mount(Some("tmpfs"), at.path(), Some("tmpfs"), MsFlags::empty(), Some(SIZE)).unwrap();
        Self { at, outside }
    }

    /// A daemon whose root, logs and own log are outside.
    fn daemon(&self) -> Option<Daemon> {
        if !host::can_run_containers() {
            return None;
        }
        let below = Some(self.at.path().to_owned());
        let mut daemon = Daemon::empty(Options { below, ..Options::default() });
        for name in ["root", "logs"] {
            fs::create_dir(self.outside(name)).unwrap();
            symlink(self.outside(name), daemon.path(name)).unwrap();
        }
        symlink(self.outside("daemon.log"), daemon.path("daemon.log")).unwrap();
        daemon.launch();
        let demo = self.outside("demo.tar");
        image_file::write_demo(&demo).unwrap();
        daemon.import(&demo);
        Some(daemon)
    }

    fn outside(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    /// Takes all blocks, or all inodes; again takes what came free since.
    fn fill(&self, what: Full) {
        let folder = self.at.path().join("filler");
        fs::create_dir_all(&folder).ok();
        let bytes = if what == Full::Blocks { vec![1; 4096] } else { Vec::new() };
        for nr in 0.. {
            let path = folder.join(nr.to_string());
            if !path.exists() && put(&path, &bytes).is_err() {
                break;
            }
        }
    }

    fn free(&self) {
        fs::remove_dir_all(self.at.path().join("filler")).unwrap();
    }
}

/// What a daemon left in it is gone by then.
impl Drop for Small {
    fn drop(&mut self) {
        umount2(self.at.path(), MntFlags::MNT_DETACH).ok();
    }
}

fn survives(what: Full) {
    let small = Small::new();
    let Some(mut daemon) = small.daemon() else { return };
    let cast = Cast::make(&mut daemon);
    small.fill(what);
    cast.are_listed_and_no_more_come(&daemon);
    let client = daemon.client();
    is_refused("a start", client.start_container(ask::start(&cast.created)));
    // A probe runs, or is refused in words.
    match client.exec_sync(ask::exec(&cast.running, &["/demo", "true"], 10)) {
        Ok(answer) => assert_eq!(answer.exit_code, 0, "{what:?}: {answer:?}"),
        Err(error) => is_refused::<()>("an exec", Err(error)),
    }
    // A shim that is killed is replaced, and loses nothing.
    let shim = || {
        let shims = client.shims().unwrap().containers;
        let shim = shims.iter().find(|shim| shim.container_id == cast.trapping);
        shim.map(|shim| Pid::from_raw(shim.shim_pid.cast_signed()))
    };
    let first = shim().unwrap();
    kill(first, Signal::SIGKILL).unwrap();
    eventually(SOON, "another shim", || shim().filter(|next| *next != first));
    Cast::end(&daemon, what, &[(&cast.stopped, 137), (&cast.trapping, 7)]);
    let removed = daemon.client().remove_container(ask::remove(&cast.stopped));
    removed.unwrap_or_else(|e| panic!("{what:?}: remove: {e}"));
    small.fill(what);
    cast.live_through_a_death(&mut daemon, what);
    small.free();
    cast.have_room_again(&daemon, what);
}

#[test]
fn a_state_folder_without_blocks() {
    survives(Full::Blocks);
}

#[test]
fn a_state_folder_without_inodes() {
    survives(Full::Inodes);
}
