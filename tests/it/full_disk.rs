//! The daemon's own disk is full, or has no inodes left: what runs goes on, stop, remove and list work, also after a
//! start; what needs room is refused with a word and leaves nothing. When there is room again all is well.
//!
//! Never: the file system of the state folder: `full_state`.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use cri_api::v1::{self, ContainerState};
use tempfile::TempDir;
use tests::{
    ask,
    daemon::{Daemon, Options},
    disk::Disk,
    eventually::eventually,
    host, image_file,
    image_file::DEMO,
    limits::SOON,
};

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

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
fn put(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::write(path, bytes)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    Blocks,
    Inodes,
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
    // The first pod makes what stays.
    let first = daemon.run_pod("first");
    daemon.run(&first, "c", &["true"]);
    daemon.remove_pods();
    daemon.settle();
    let pods: Vec<_> = ["one", "two", "three"].map(|name| daemon.run_pod(name)).into();
    let stopped = daemon.run(&pods[0], "stopped", &["sleep", "600"]);
    let trapping = daemon.run(&pods[0], "trapping", &["trap", "7", "600"]);
    let created = daemon.create(&pods[0], &ask::container("created", DEMO, &["true"]));
    let running = daemon.run(&pods[1], "running", &["sleep", "600"]);
    let killed = daemon.run(&pods[1], "killed", &["sleep", "600"]);
    disk.fill(what);
    let client = daemon.client();
    let listed = client.list_containers(v1::ListContainersRequest::default()).unwrap().containers.len();
    assert_eq!(listed, 5);
    assert_eq!(client.exec_sync(ask::exec(&running, &["/demo", "true"], 10)).unwrap().exit_code, 0);
    // What needs room is refused, in words, and leaves nothing.
    let config = ask::pod("more", &daemon.path("logs"));
    let error = client.run_pod_sandbox(ask::run(&config)).unwrap_err();
    assert!(error.message().contains("No space left"), "{what:?}: {error}");
    let more = ask::container("more", DEMO, &["true"]);
    let error = client.create_container(ask::create(&pods[1].id, &more, &pods[1].config)).unwrap_err();
    assert!(error.message().contains("No space left"), "{what:?}: {error}");
    // An end is told as it was.
    for (id, code) in [(&stopped, 137), (&trapping, 7), (&created, 137)] {
        let grace = if code == 7 { 30 } else { 0 };
        client.stop_container(ask::stop(id, grace)).unwrap_or_else(|e| panic!("{what:?}: stop: {e}"));
        assert_eq!(daemon.exited(id).exit_code, code, "{what:?}");
    }
    client.remove_container(ask::remove(&stopped)).unwrap_or_else(|e| panic!("{what:?}: remove: {e}"));
    // A death and a start on a disk that is quite full; meanwhile something ends.
    disk.fill(what);
    let shims = client.shims().unwrap().containers;
    let pid = shims.iter().find(|shim| shim.container_id == killed).unwrap().init_pid;
    daemon.kill9();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    daemon.launch();
    let client = daemon.client();
    assert_eq!(daemon.status(&running).state(), ContainerState::ContainerRunning, "{what:?}");
    assert_eq!(daemon.exited(&killed).exit_code, 137, "{what:?}");
    assert_eq!(daemon.status(&trapping).exit_code, 7, "{what:?}");
    for pod in &pods[..2] {
        client.stop_pod_sandbox(ask::stop_pod(&pod.id)).unwrap_or_else(|e| panic!("{what:?}: {e}"));
        client.remove_pod_sandbox(ask::remove_pod(&pod.id)).unwrap_or_else(|e| panic!("{what:?}: {e}"));
    }
    // With the third pod there is still one that lived through it.
    disk.free();
    let pod = daemon.run_pod("after");
    let id = daemon.run(&pod, "c", &["exit", "4"]);
    assert_eq!(daemon.exited(&id).exit_code, 4, "{what:?}");
    daemon.create(&pods[2], &ask::container("c", DEMO, &["true"]));
    eventually(SOON, "three pods' end", || {
        daemon.remove_pods();
        let left = daemon.client().list_pod_sandbox(v1::ListPodSandboxRequest::default()).unwrap().items;
        left.is_empty().then_some(())
    });
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
