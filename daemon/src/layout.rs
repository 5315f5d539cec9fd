//! From an id to every path the daemon uses (I3): whatever is made can be found again by its name alone.
//!
//! Owns: names below ROOT, STATE and the network namespaces' folder. Never: touches the file system.

use std::path::{Path, PathBuf};

use protocol::{
    ids::{ContainerId, SandboxId},
    rundir::RunDir,
};

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    state: PathBuf,
    netns_dir: PathBuf,
    instance: String,
}

impl Layout {
    /// `root` survives a reboot, `state` does not; both are absolute.
    pub fn new(root: PathBuf, state: PathBuf, netns_dir: PathBuf, instance: String) -> Self {
        Self { root, state, netns_dir, instance }
    }

    /// ROOT, which survives a reboot.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// STATE, which does not.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Locked by the daemon for life.
    pub fn root_lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// One folder a sandbox.
    pub fn sandboxes(&self) -> PathBuf {
        self.root.join("sandboxes")
    }

    /// One folder a container.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// The folder of a sandbox's facts; goes last.
    pub fn sandbox(&self, id: &SandboxId) -> PathBuf {
        self.sandboxes().join(id.as_str())
    }

    /// What was asked for.
    pub fn sandbox_facts(&self, id: &SandboxId) -> PathBuf {
        self.sandbox(id).join("facts.json")
    }

    /// A copy of the facts for as long as the host runs: what is there can be taken down when the disk has lost them.
    pub fn sandbox_facts_copy(&self, id: &SandboxId) -> PathBuf {
        self.sandbox_state(id).join("facts.json")
    }

    /// There: the sandbox was made whole.
    pub fn sandbox_ready(&self, id: &SandboxId) -> PathBuf {
        self.sandbox(id).join("ready")
    }

    /// What the sandbox holds of the network.
    pub fn attachment(&self, id: &SandboxId) -> PathBuf {
        self.sandbox(id).join("network.json")
    }

    /// The node's pod ranges, as the kubelet told them last.
    pub fn pod_ranges(&self) -> PathBuf {
        self.root.join("pod_ranges")
    }

    /// There: the sandbox was stopped.
    pub fn sandbox_stopped(&self, id: &SandboxId) -> PathBuf {
        self.sandbox(id).join("stopped")
    }

    /// What a sandbox has until it stops or the host does: files, pins, its /dev/shm.
    pub fn sandbox_state(&self, id: &SandboxId) -> PathBuf {
        self.state.join("sandboxes").join(id.as_str())
    }

    /// The pod's /etc/hosts.
    pub fn hosts(&self, id: &SandboxId) -> PathBuf {
        self.sandbox_state(id).join("hosts")
    }

    /// The pod's /etc/hostname.
    pub fn hostname(&self, id: &SandboxId) -> PathBuf {
        self.sandbox_state(id).join("hostname")
    }

    /// The pod's /etc/resolv.conf.
    pub fn resolv_conf(&self, id: &SandboxId) -> PathBuf {
        self.sandbox_state(id).join("resolv.conf")
    }

    /// The pod's /dev/shm, a tmpfs of its own.
    pub fn shm(&self, id: &SandboxId) -> PathBuf {
        self.sandbox_state(id).join("shm")
    }

    /// Pin of the pod's IPC namespace.
    pub fn ipc_pin(&self, id: &SandboxId) -> PathBuf {
        self.sandbox_state(id).join("ipc")
    }

    /// Pin of the pod's UTS namespace.
    pub fn uts_pin(&self, id: &SandboxId) -> PathBuf {
        self.sandbox_state(id).join("uts")
    }

    /// Pin of the pod's PID namespace, where it has one.
    pub fn pid_pin(&self, id: &SandboxId) -> PathBuf {
        self.sandbox_state(id).join("pid")
    }

    /// Pin of the pod's network namespace, where CNI plugins and `ip netns` look.
    pub fn net_pin(&self, id: &SandboxId) -> PathBuf {
        self.netns_dir.join(format!("{}-{id}", self.instance))
    }

    /// Folder of the network namespaces' pins.
    pub fn netns_dir(&self) -> &Path {
        &self.netns_dir
    }

    /// The folder of a container's facts; goes last.
    pub fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.as_str())
    }

    /// What was asked for.
    pub fn container_facts(&self, id: &ContainerId) -> PathBuf {
        self.container(id).join("facts.json")
    }

    /// A copy of the facts for as long as the host runs.
    pub fn container_facts_copy(&self, id: &ContainerId) -> PathBuf {
        self.bundle(id).join("facts.json")
    }

    /// The limits of the last update; not there: those of the facts.
    pub fn container_resources(&self, id: &ContainerId) -> PathBuf {
        self.container(id).join("resources.json")
    }

    /// Folders of the image's volumes, of this container's own.
    pub fn volumes(&self, id: &ContainerId) -> PathBuf {
        self.container(id).join("volumes")
    }

    /// Pin of another container's PID namespace that this one is to join.
    pub fn target_pin(&self, id: &ContainerId) -> PathBuf {
        self.bundle(id).join("pid")
    }

    /// There: the container was made whole; in it, who its first process is.
    pub fn container_created(&self, id: &ContainerId) -> PathBuf {
        self.container(id).join("created")
    }

    /// There: a start was begun; without an exit record and without a shim the container is lost.
    pub fn container_launched(&self, id: &ContainerId) -> PathBuf {
        self.container(id).join("launched")
    }

    /// How it ended. Outlives the run directory and a reboot.
    pub fn exit_record(&self, id: &ContainerId) -> PathBuf {
        self.container(id).join("exit")
    }

    /// The bundle: config.json and the mount point of the root file system.
    pub fn bundle(&self, id: &ContainerId) -> PathBuf {
        self.state.join("bundles").join(id.as_str())
    }

    /// Mount point of the root file system.
    pub fn rootfs(&self, id: &ContainerId) -> PathBuf {
        self.bundle(id).join("rootfs")
    }

    /// One run directory a container.
    pub fn run_dirs(&self) -> PathBuf {
        self.state.join("shims")
    }

    /// The shim's run directory.
    pub fn run_dir(&self, id: &ContainerId) -> RunDir {
        RunDir::new(self.run_dirs().join(id.as_str()))
    }

    /// A runtime's own state folder, where the configuration names none.
    pub fn runtime_root(&self, runtime: &str) -> PathBuf {
        self.state.join("runtimes").join(runtime)
    }
}
