//! The state folder's file system, which is memory, is full, or has no inodes left: what runs goes on, stop, remove and
//! list work, also after a start; what needs room is refused with a word and leaves nothing. When there is room again all
//! is well.
//!
//! The daemon's disk and the logs have their own, with room; `full_disk` fills the disk.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use cri_api::v1::{self, ContainerState};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tests::{
    ask,
    client::CriClient,
    daemon::{Daemon, Options},
    eventually::eventually,
    host, image_file,
    image_file::DEMO,
    limits::SOON,
};

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

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
fn put(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::write(path, bytes)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    Blocks,
    Inodes,
}

fn is_refused<T: std::fmt::Debug>(what: &str, answer: Result<T, tonic::Status>) {
    let error = answer.expect_err(what);
    // The runtime's own words begin small.
    assert!(error.message().to_lowercase().contains("no space left"), "{what}: {error}");
}

fn containers(client: &CriClient) -> usize {
    client.list_containers(v1::ListContainersRequest::default()).unwrap().containers.len()
}

fn survives(what: Full) {
    let small = Small::new();
    let Some(mut daemon) = small.daemon() else { return };
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
    small.fill(what);
    let client = daemon.client();
    assert_eq!(containers(client), 5);
    // What needs room is refused, in words, and leaves nothing.
    let config = ask::pod("more", &daemon.path("logs"));
    is_refused("a pod", client.run_pod_sandbox(ask::run(&config)));
    let more = ask::container("more", DEMO, &["true"]);
    is_refused("a container", client.create_container(ask::create(&pods[1].id, &more, &pods[1].config)));
    is_refused("a start", client.start_container(ask::start(&created)));
    // A probe runs, or is refused in words.
    match client.exec_sync(ask::exec(&running, &["/demo", "true"], 10)) {
        Ok(answer) => assert_eq!(answer.exit_code, 0, "{what:?}: {answer:?}"),
        Err(error) => is_refused::<()>("an exec", Err(error)),
    }
    // A shim that is killed is replaced, and loses nothing.
    let shim = |id: &str| {
        let shims = client.shims().unwrap().containers;
        shims
            .iter()
            .find(|shim| shim.container_id == id)
            .map(|shim| Pid::from_raw(shim.shim_pid.cast_signed()))
    };
    let first = shim(&trapping).unwrap();
    kill(first, Signal::SIGKILL).unwrap();
    eventually(SOON, "another shim", || shim(&trapping).filter(|next| *next != first));
    // An end is told as it was.
    for (id, code) in [(&stopped, 137), (&trapping, 7)] {
        let grace = if code == 7 { 30 } else { 0 };
        client.stop_container(ask::stop(id, grace)).unwrap_or_else(|e| panic!("{what:?}: stop: {e}"));
        assert_eq!(daemon.exited(id).exit_code, code, "{what:?}");
    }
    client.remove_container(ask::remove(&stopped)).unwrap_or_else(|e| panic!("{what:?}: remove: {e}"));
    // A death and a start with no room at all; meanwhile something ends.
    small.fill(what);
    let shims = client.shims().unwrap().containers;
    let pid = shims.iter().find(|shim| shim.container_id == killed).unwrap().init_pid;
    daemon.kill9();
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
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
    small.free();
    let pod = daemon.run_pod("after");
    let id = daemon.run(&pod, "c", &["exit", "4"]);
    assert_eq!(daemon.exited(&id).exit_code, 4, "{what:?}");
    daemon.create(&pods[2], &ask::container("c", DEMO, &["true"]));
    eventually(SOON, "three pods' end", || {
        daemon.remove_pods();
        let left = daemon.client().list_pod_sandbox(v1::ListPodSandboxRequest::default()).unwrap().items;
        left.is_empty().then_some(())
    });
}

#[test]
fn a_state_folder_without_blocks() {
    survives(Full::Blocks);
}

#[test]
fn a_state_folder_without_inodes() {
    survives(Full::Inodes);
}
