//! The daemon's own disk is full, or has no inodes left: what runs goes on, stop, remove and list work, also after a
//! start; what needs room is refused with a word and leaves nothing. When there is room again all is well.
//!
//! Never: the file system of the state folder: `full_state`.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use cri_api::v1::{self, ContainerState};
use tempfile::TempDir;
use tests::{
    ask,
    daemon::{Daemon, Options},
    disk::Disk,
    host, image_file,
};

use crate::full::{Cast, Full, put};

/// A small disk that can be filled: some hundred inodes, and no blocks that are kept for root, who is the daemon.
struct Small {
    disk: Disk,
    at: TempDir,
}

impl Small {
    fn new() -> Option<Self> {
        let mut disk = Disk::make_with(24 << 20, &["-m", "0", "-N", "512"])?;
        let at = tempfile::Builder::new().prefix("tt-full.").tempdir_in("/tmp").unwrap();
        disk.mount(at.path(), "rw");
        Some(Self { disk, at })
    }

    fn path(&self) -> PathBuf {
        self.at.path().to_owned()
    }

    /// Takes all blocks, or all inodes.
    fn fill(&self, what: Full) {
        let folder = self.path().join("filler");
        fs::create_dir_all(&folder).unwrap();
        let mut size = 1 << 20;
        let begin = fs::read_dir(&folder).unwrap().count();
        for nr in begin.. {
            let path = folder.join(nr.to_string());
            let bytes = if what == Full::Blocks { vec![1; size] } else { Vec::new() };
            if put(&path, &bytes).is_ok() {
                continue;
            }
            // A file that could not be written whole has taken what there was.
            if size <= 1 || what == Full::Inodes {
                break;
            }
            size /= 16;
        }
    }

    fn free(&self) {
        fs::remove_dir_all(self.path().join("filler")).unwrap();
    }
}

fn start(disk: &Small) -> Option<Daemon> {
    if !host::can_run_containers() {
        return None;
    }
    let mut daemon = Daemon::empty(Options::default());
    symlink(disk.path(), daemon.path("root")).unwrap();
    daemon.launch();
    let demo = daemon.path("demo.tar");
    image_file::write_demo(&demo).unwrap();
    daemon.import(&demo);
    Some(daemon)
}

fn survives(what: Full) {
    let Some(mut disk) = Small::new() else { return };
    let Some(mut daemon) = start(&disk) else { return };
    let cast = Cast::make(&mut daemon);
    disk.fill(what);
    cast.are_listed_and_no_more_come(&daemon);
    let answer = daemon.client().exec_sync(ask::exec(&cast.running, &["/demo", "true"], 10)).unwrap();
    assert_eq!(answer.exit_code, 0, "{what:?}");
    Cast::end(&daemon, what, &[(&cast.stopped, 137), (&cast.trapping, 7), (&cast.created, 137)]);
    let removed = daemon.client().remove_container(ask::remove(&cast.stopped));
    removed.unwrap_or_else(|e| panic!("{what:?}: remove: {e}"));
    disk.fill(what);
    cast.live_through_a_death(&mut daemon, what);
    disk.free();
    cast.have_room_again(&daemon, what);
    drop(daemon);
    disk.disk.unmount();
}

#[test]
fn a_disk_without_blocks() {
    survives(Full::Blocks);
}

#[test]
fn a_disk_without_inodes() {
    survives(Full::Inodes);
}

#[test]
fn a_disk_that_may_only_be_read() {
    let Some(mut disk) = Small::new() else { return };
    let Some(mut daemon) = start(&disk) else { return };
    let pod = daemon.run_pod("pod");
    let running = daemon.run(&pod, "running", &["sleep", "600"]);
    let exited = daemon.run(&pod, "exited", &["exit", "3"]);
    daemon.exited(&exited);
    daemon.kill9();
    disk.disk.remount("ro");
    daemon.launch();
    let client = daemon.client();
    let listed = client.list_containers(v1::ListContainersRequest::default()).unwrap().containers.len();
    assert_eq!(listed, 2);
    assert_eq!(daemon.status(&running).state(), ContainerState::ContainerRunning);
    assert_eq!(daemon.status(&exited).exit_code, 3);
    assert_eq!(client.exec_sync(ask::exec(&running, &["/demo", "true"], 10)).unwrap().exit_code, 0);
    let error = client.run_pod_sandbox(ask::run(&ask::pod("more", &daemon.path("logs")))).unwrap_err();
    assert!(error.message().contains("Read-only"), "{error}");
    let error = client.remove_container(ask::remove(&exited)).unwrap_err();
    assert!(error.message().contains("Read-only"), "{error}");
    disk.disk.remount("rw");
    assert_eq!(daemon.status(&running).state(), ContainerState::ContainerRunning);
    let client = daemon.client();
    client.remove_container(ask::remove(&exited)).unwrap();
    client.stop_container(ask::stop(&running, 0)).unwrap();
    assert_eq!(daemon.exited(&running).exit_code, 137);
    drop(daemon);
    disk.disk.unmount();
}
