//! A node with the unit as it is installed: configured, started, asked, stopped, and looked over at the end.
//!
//! Owns: the node's configuration file and the unit's life in a test. Never: a second test beside it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use cri_api::v1;
use tests::{
    ask,
    client::CriClient,
    daemon::Pod,
    eventually::{eventually, within},
    host, image_file,
    leaks::Snapshot,
    limits::{SOON, STANDBY},
    nursery,
};

use super::remains;

/// The unit's name.
pub const UNIT: &str = "taffrail.service";

/// Where the kubelet keeps logs.
const LOGS: &str = "/var/log/pods";

/// Runs a program; it must succeed. What it printed.
#[track_caller]
pub fn run(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e}", words.join(" ")));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", words.join(" "));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The node while a test has it.
pub struct Node {
    client: CriClient,
    /// Before the unit's start, and when a whole pod had lived.
    before: Snapshot,
    baseline: Snapshot,
}

impl Node {
    /// Writes the configuration, starts the unit and imports the demo image.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        fs::create_dir_all("/etc/taffrail").expect("the root can be written");
        let text: Vec<String> = settings.iter().map(|(key, value)| format!("{key} = {value:?}\n")).collect();
        put(Path::new("/etc/taffrail/config.toml"), text.concat().as_bytes());
        // Of an earlier test.
        fs::remove_dir_all(LOGS).ok();
        let client = CriClient::new(Path::new("/run/taffrail/taffrail.sock"));
        let (before, baseline) = (remains::look(None), Snapshot::default());
        let mut node = Self { client, before, baseline };
        run(&["systemctl", "start", UNIT]);
        let file = PathBuf::from("/run/demo.tar");
        image_file::write_demo(&file).expect("the image can be written");
        node.command(&["image", "import", "/run/demo.tar"]);
        node.start_container(&node.run_pod("warm-up", ""), &ask::container("c", image_file::DEMO, &["true"]));
        node.remove_pods().expect("pods can be removed");
        node.settle();
        node
    }

    /// From now on this is what the node must look like when all pods are gone.
    fn settle(&mut self) {
        let is_shim = |process: &nursery::Process| process.name == "taffrail-shim";
        let mut last = remains::look(self.daemon());
        within(SOON, || {
            let before = std::mem::replace(&mut last, remains::look(self.daemon()));
            let standby = nursery::processes().into_iter().filter(is_shim).count();
            (standby >= STANDBY && before == last).then_some(())
        });
        self.baseline = last;
    }

    /// Nothing more than in this; `look` is taken until it is so.
    fn is_as(before: &Snapshot, what: &str, look: impl Fn() -> Snapshot) {
        let mut left = None;
        let clean = within(SOON, || {
            left = look().more_than(before);
            left.is_none().then_some(())
        });
        if let (None, Some(left)) = (clean, left) {
            panic!("left on the node {what}:\n{left}");
        }
    }

    /// A command of the program, as an operator gives it.
    pub fn command(&self, words: &[&str]) -> String {
        let mut command = Command::new(host::taffrail());
        host::without_own_variables(&mut command);
        let output = command.args(words).output().expect("taffrail can be run");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "taffrail {}: {error}", words.join(" "));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The client of its socket.
    pub fn client(&self) -> &CriClient {
        &self.client
    }

    /// The daemon's process; `None`: it does not run.
    pub fn daemon(&self) -> Option<u32> {
        let pid = run(&["systemctl", "show", "-P", "MainPID", UNIT]);
        pid.parse().ok().filter(|&pid| pid != 0)
    }

    /// Waits until another process than this serves.
    pub fn serves_again(&self, old: u32) -> u32 {
        eventually(SOON, "a new daemon that serves", || {
            let pid = self.daemon().filter(|&pid| pid != old)?;
            self.client.version(v1::VersionRequest::default()).is_ok().then_some(pid)
        })
    }

    /// Runs a pod below this cgroup parent; the empty one: the daemon's own.
    pub fn run_pod(&self, name: &str, parent: &str) -> Pod {
        let mut config = ask::pod(name, Path::new(LOGS));
        config.linux.get_or_insert_default().cgroup_parent = parent.to_owned();
        let answer = self.client.run_pod_sandbox(ask::run(&config));
        let answer = answer.unwrap_or_else(|e| panic!("pod {name}: {e}"));
        Pod { id: answer.pod_sandbox_id, config }
    }

    /// Creates and starts a container.
    pub fn start_container(&self, pod: &Pod, config: &v1::ContainerConfig) -> String {
        let answer = self.client.create_container(ask::create(&pod.id, config, &pod.config));
        let id = answer.unwrap_or_else(|e| panic!("create: {e}")).container_id;
        self.client.start_container(ask::start(&id)).unwrap_or_else(|e| panic!("start: {e}"));
        id
    }

    /// The status of a container.
    pub fn status(&self, id: &str) -> v1::ContainerStatus {
        let answer = self.client.container_status(ask::status(id));
        answer.unwrap_or_else(|e| panic!("status of {id}: {e}")).status.expect("an answer has a status")
    }

    /// Waits until a container has exited.
    pub fn exited(&self, id: &str) -> v1::ContainerStatus {
        eventually(SOON, "the container's exit", || {
            let status = self.status(id);
            (status.state() == v1::ContainerState::ContainerExited).then_some(status)
        })
    }

    /// Shim and first process of a container.
    pub fn processes(&self, id: &str) -> (u32, u32) {
        let all = self.client.shims().expect("the daemon answers").containers;
        let shim = all.iter().find(|shim| shim.container_id == id).expect("a container has a shim");
        (shim.shim_pid, shim.init_pid)
    }

    /// The keeper's process.
    pub fn keeper(&self) -> u32 {
        eventually(SOON, "the keeper", || {
            let pid = self.client.shims().expect("the daemon answers").keeper_pid;
            (pid != 0).then_some(pid)
        })
    }

    fn remove_pods(&self) -> Result<(), tonic::Status> {
        for pod in self.client.list_pod_sandbox(v1::ListPodSandboxRequest::default())?.items {
            self.client.stop_pod_sandbox(ask::stop_pod(&pod.id))?;
            self.client.remove_pod_sandbox(ask::remove_pod(&pod.id))?;
        }
        Ok(())
    }

    /// Removes every pod, stops the unit, and finds the node as it was before.
    fn finish(&self) {
        if self.daemon().is_none() {
            run(&["systemctl", "start", UNIT]);
        }
        self.remove_pods().expect("pods can be removed");
        Self::is_as(&self.baseline, "when all pods are gone", || remains::look(self.daemon()));
        run(&["systemctl", "stop", UNIT]);
        assert_eq!(run(&["systemctl", "show", "-P", "Result", UNIT]), "success");
        // Images stay, and what the bridge set.
        Self::is_as(&self.before, "after the daemon's end", || remains::look(None).without_files());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.finish();
            return;
        }
        eprintln!("{}", run(&["journalctl", "--no-pager", "-o", "cat", "-n", "60", "-u", UNIT]));
        // Best effort, so that the next test finds a quiet node; the machine is thrown away.
        drop(Command::new("systemctl").args(["start", UNIT]).status());
        self.remove_pods().ok();
        drop(Command::new("systemctl").args(["stop", UNIT]).status());
    }
}

/// The cgroup of a process, below the root of cgroup v2.
pub fn cgroup_of(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    text.trim().trim_start_matches("0::").to_owned()
}

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("the root can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("the file is ours");
}
