//! Debian's containerd as a peer: a daemon of its own with everything below one temporary folder.
//!
//! Owns: its configuration and its life. Never: the host's own containerd.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use cri_api::v1;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tests::{
    ask,
    client::CriClient,
    conformance,
    eventually::{eventually, within},
    host, image_file,
    limits::{SERVING, SOON},
    network::Network,
    nursery::Nursery,
    registry::Registry,
};

use crate::{chain, output::note};

/// Name of the image of its sandboxes.
const PAUSE: &str = "taffrail.test/pause:1";

/// A running containerd.
pub(crate) struct Containerd {
    folder: TempDir,
    nursery: Nursery,
    program: PathBuf,
    pid: u32,
    pub(crate) client: CriClient,
}

#[expect(clippy::disallowed_methods, reason = "the benchmark's own file; nobody reads half of it")]
fn put(path: &Path, text: &str) {
    fs::write(path, text).expect("the benchmark's folder can be written");
}

fn config(folder: &Path, root: &Path) -> String {
    let at = folder.display();
    let root = root.display();
    let cni = chain::plugins().unwrap_or_default();
    let cni = cni.display();
    format!(
        r#"version = 2
root = "{root}"
state = "{at}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.opt"]
[grpc]
address = "{at}/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
disable_apparmor = true
stream_server_port = "0"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{cni}"
conf_dir = "{at}/cni"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{at}/certs.d"
"#
    )
}

impl Containerd {
    /// `None`: it is not here, or does not start; said on stderr.
    pub(crate) fn start() -> Option<Self> {
        Self::start_at(None)
    }

    /// The same with its images in a folder of somebody else's.
    pub(crate) fn start_at(root: Option<&Path>) -> Option<Self> {
        let Some(program) = host::find("containerd") else {
            note("no containerd here");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("tb.").tempdir_in("/tmp").expect("/tmp can be written");
        let own = folder.path().join("root");
        put(&folder.path().join("config.toml"), &config(folder.path(), root.unwrap_or(&own)));
        chain::configure(&folder.path().join("cni"), &folder.path().join("addresses"));
        let client = CriClient::new(&folder.path().join("c.sock"));
        let mut peer = Self { folder, nursery: Nursery::new(), program, pid: 0, client };
        peer.launch();
        if within(SERVING, || peer.client.version(v1::VersionRequest::default()).ok()).is_none() {
            let log = fs::read_to_string(peer.folder.path().join("log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(5).collect();
            note(&format!("containerd does not serve: {}", last.join("\n")));
            return None;
        }
        peer.import();
        Some(peer)
    }

    fn launch(&mut self) {
        let config = self.folder.path().join("config.toml").to_string_lossy().into_owned();
        let command = [self.program.to_string_lossy().into_owned(), "--config".to_owned(), config];
        let log = self.folder.path().join("log");
        self.pid = self.nursery.start(&log, &[], &command).expect("containerd can be started");
    }

    /// By its own tool: the CRI knows pulls only.
    fn import(&self) {
        let demo = self.folder.path().join("demo.tar");
        image_file::write_demo(&demo).expect("the image can be written");
        let pause = self.folder.path().join("pause.tar");
        image_file::write_program(&pause, PAUSE, &["/demo", "sleep", "1000000"])
            .expect("the image can be written");
        for file in [&demo, &pause] {
            let address = self.folder.path().join("c.sock");
            let done = Command::new("ctr")
                .arg("--address")
                .arg(address)
                .args(["-n", "k8s.io", "images", "import"])
                .arg(file)
                .output();
            let done = done.expect("ctr comes with containerd");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        // Its CRI hears of images a moment later.
        eventually(SOON, "containerd's images", || {
            let list = self.client.list_images(v1::ListImagesRequest::default()).ok()?.images;
            (list.len() >= 2).then_some(())
        });
    }

    /// The daemon's process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The supervisors of containers: one for each pod.
    pub(crate) fn shims(&self) -> Vec<u32> {
        let all = self.nursery.descendants().into_iter();
        all.filter(|process| process.name.starts_with("containerd-shim")).map(|process| process.pid).collect()
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("c.sock")
    }

    /// The network it lives in.
    pub(crate) fn network(&self) -> Network {
        self.nursery.network()
    }

    /// Takes a registry for those whose names the conformance suite uses.
    pub(crate) fn mirror(&self, registry: &Registry) {
        for host in conformance::HOSTS {
            let folder = self.folder.path().join("certs.d").join(host);
            fs::create_dir_all(&folder).expect("the benchmark's folder can be written");
            let text = format!(
                "server = \"https://{host}\"\n[host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
                registry.host()
            );
            put(&folder.join("hosts.toml"), &text);
        }
    }

    /// Folder for logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    /// kill -9 and a new start; seconds until the socket answers.
    pub(crate) fn restart(&mut self) -> f64 {
        let old = self.pid;
        kill(Pid::from_raw(old.cast_signed()), Signal::SIGKILL).expect("containerd can be killed");
        eventually(SOON, "containerd's end", || self.nursery.ended(old));
        let begin = Instant::now();
        self.launch();
        eventually(SERVING, "containerd", || self.client.version(v1::VersionRequest::default()).ok());
        begin.elapsed().as_secs_f64()
    }

    fn end(&mut self) {
        if let Ok(list) = self.client.list_pod_sandbox(v1::ListPodSandboxRequest::default()) {
            for pod in list.items {
                self.client.stop_pod_sandbox(ask::stop_pod(&pod.id)).ok();
                self.client.remove_pod_sandbox(ask::remove_pod(&pod.id)).ok();
            }
        }
        kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGTERM).ok();
        within(SOON, || self.nursery.ended(self.pid));
        self.nursery.close();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut points: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(4)).collect();
        points.reverse();
        for point in points.into_iter().filter(|point| Path::new(point).starts_with(self.folder.path())) {
            nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH).ok();
        }
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().filter_map(Result::ok) {
            // The parent that it makes for pods that name none; in use by another containerd: it stays.
            fs::remove_dir(hierarchy.path().join("k8s.io")).ok();
        }
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.end();
    }
}
