//! A real kubelet without an API server, beside a daemon under test: the whole node half of Kubernetes in one
//! process. It reads pods from a folder and answers on its own HTTPS port.
//!
//! It lives in the daemon's network, and its cgroups carry the daemon's name. Owns: its folders, its cgroups. Never: reads or writes the host's own /var/lib/kubelet.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    daemon::Daemon,
    eventually::eventually,
    host,
    limits::{KUBELET, SOON},
    network::Network,
};

/// Its HTTPS port, in the network of the daemon under test.
const PORT: u16 = 10250;

/// Name of the node; static pods get it as a suffix.
const NODE: &str = "node1";

/// The device manager's socket has a fixed place on the host, whatever the root folder is (device plugin API).
const DEVICE_PLUGINS: &str = "/var/lib/kubelet";

/// A kubelet.
#[derive(Debug)]
pub struct Kubelet {
    network: Network,
    instance: String,
    socket: PathBuf,
    folder: PathBuf,
    child: Option<Child>,
    /// The host had no such folder before.
    made_plugins: bool,
}

impl Kubelet {
    /// Starts one. `None`: there is none here, the test is skipped.
    pub fn start(daemon: &Daemon) -> Option<Self> {
        let Some(program) = host::find("kubelet") else {
            host::skip("kubelet", "no kubelet here: .ci/tools builds it where Go is");
            return None;
        };
        if host::find("curl").is_none() {
            host::skip("kubelet", "no curl here");
            return None;
        }
        let folder = daemon.path("kubelet");
        for name in ["manifests", "root", "logs"] {
            fs::create_dir_all(folder.join(name)).expect("the test's folder can be written");
        }
        let made_plugins = !Path::new(DEVICE_PLUGINS).exists();
        let mut kubelet = Self {
            network: daemon.network(),
            instance: daemon.instance().to_owned(),
            socket: daemon.socket(),
            folder,
            child: None,
            made_plugins,
        };
        for cgroup in kubelet.cgroups() {
            fs::create_dir_all(&cgroup).unwrap_or_else(|e| panic!("{}: {e}", cgroup.display()));
        }
        kubelet.prepare_cpuset();
        kubelet.write("config.yaml", &kubelet.config());
        kubelet.launch(&program);
        Some(kubelet)
    }

    /// The root of its cgroups: its name is the daemon's, so that the leak checker finds what stays.
    fn cgroup(&self) -> String {
        format!("/{}-kubelet", self.instance)
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let name = self.cgroup();
        let name = name.trim_start_matches('/');
        if host::cgroup_v2_only() {
            return vec![root.join(name)];
        }
        let entries = fs::read_dir(root).expect("the host has cgroups");
        let folders = entries.filter_map(|entry| fs::canonicalize(entry.ok()?.path()).ok());
        let mut all: Vec<PathBuf> =
            folders.filter(|folder| folder.join("cgroup.procs").exists()).map(|f| f.join(name)).collect();
        all.sort();
        all.dedup();
        all
    }

    /// A new cpuset of version 1 is empty, and nothing can be put into it.
    fn prepare_cpuset(&self) {
        let parent = Path::new("/sys/fs/cgroup/cpuset");
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = fs::read_to_string(parent.join(file)) {
                put(&parent.join(self.cgroup().trim_start_matches('/')).join(file), value.trim());
            }
        }
    }

    fn config(&self) -> Value {
        let text = |name: &str| self.folder.join(name).to_string_lossy().into_owned();
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "failCgroupV1": false,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": self.cgroup(),
            "cgroupsPerQOS": true,
            "enforceNodeAllocatable": [],
            "containerRuntimeEndpoint": format!("unix://{}", self.socket.display()),
            "staticPodPath": text("manifests"),
            "podLogsDir": text("logs"),
            "volumePluginDir": text("plugins"),
            "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
            "authorization": { "mode": "AlwaysAllow" },
            "address": "127.0.0.1",
            "port": PORT,
            "healthzPort": 10248,
            "readOnlyPort": 0,
            "failSwapOn": false,
            // Lowering it needs CAP_SYS_RESOURCE.
            "oomScoreAdj": 0,
            "makeIPTablesUtilChains": false,
            "evictionHard": { "imagefs.available": "0%", "nodefs.available": "0%" },
            "fileCheckFrequency": "1s",
            "registerNode": false,
        })
    }

    fn launch(&mut self, program: &Path) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("kubelet.log"));
        let log = log.expect("the test's folder can be written");
        let mut command = Command::new(program);
        command.arg("--config").arg(self.folder.join("config.yaml"));
        command.arg("--root-dir").arg(self.folder.join("root"));
        command.arg("--cert-dir").arg(self.folder.join("pki"));
        command.args(["--hostname-override", NODE, "--v", "2"]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = self.network.inside(|| command.spawn());
        self.child = Some(child.unwrap_or_else(|e| panic!("the kubelet: {e}")));
        eventually(KUBELET, "the kubelet's health", || {
            self.alive();
            (self.try_get("/healthz").as_deref() == Some("ok")).then_some(())
        });
    }

    fn alive(&mut self) {
        let child = self.child.as_mut().expect("the kubelet runs");
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            panic!("the kubelet ended with {status}:\n{}", self.log_tail());
        }
    }

    /// SIGKILL and a new start.
    pub fn restart(&mut self) {
        self.stop();
        let program = host::find("kubelet").expect("it was there");
        self.launch(&program);
    }

    /// SIGKILL, and its end.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        child.kill().and_then(|()| child.wait()).expect("the kubelet can be killed");
    }

    /// Gives it a pod to run.
    pub fn add(&self, name: &str, spec: &Value) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": "default", "labels": { "app": name } },
            "spec": spec,
        });
        // Whole or not at all: the kubelet reads the folder at any moment, and leaves names with a dot alone.
        self.write(&format!("manifests/.{name}"), &pod);
        let folder = self.folder.join("manifests");
        let hidden = folder.join(format!(".{name}"));
        fs::rename(hidden, folder.join(format!("{name}.json"))).expect("the test's folder can be written");
    }

    /// Takes a pod away from it.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.folder.join("manifests").join(format!("{name}.json")))
            .expect("the pod was added");
    }

    fn write(&self, name: &str, content: &Value) {
        put(&self.folder.join(name), &content.to_string());
    }

    /// A folder of the test that pods may mount.
    pub fn shared(&self, name: &str) -> PathBuf {
        let folder = self.folder.join("shared").join(name);
        fs::create_dir_all(&folder).expect("the test's folder can be written");
        folder
    }

    /// What its port answers; `None`: it does not.
    pub fn try_get(&self, path: &str) -> Option<String> {
        let url = format!("https://127.0.0.1:{PORT}{path}");
        let mut curl = Command::new("curl");
        // Its certificate is made by itself.
        curl.args(["--insecure", "--silent", "--show-error", "--fail", "--max-time", "60", &url]);
        let output = self.network.output(&mut curl);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What its port answers; it must.
    pub fn get(&self, path: &str) -> String {
        self.try_get(path).unwrap_or_else(|| panic!("GET {path}:\n{}", self.log_tail()))
    }

    /// The pod as the kubelet sees it; `None`: it does not know it (yet, or any more).
    pub fn pod(&self, name: &str) -> Option<Value> {
        let all: Value = serde_json::from_str(&self.try_get("/pods")?).ok()?;
        let wanted = format!("{name}-{NODE}");
        all["items"].as_array()?.iter().find(|pod| pod["metadata"]["name"] == wanted.as_str()).cloned()
    }

    /// The status of one container of a pod; `None`: there is none yet.
    pub fn container(&self, pod: &str, container: &str) -> Option<Value> {
        let pod = self.pod(pod)?;
        let of = |list: &str| {
            let all = pod["status"][list].as_array()?;
            all.iter().find(|status| status["name"] == container).cloned()
        };
        of("containerStatuses").or_else(|| of("initContainerStatuses"))
    }

    /// Waits for something that the kubelet shows.
    pub fn eventually<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let found = crate::eventually::within(KUBELET, &mut look);
        found.unwrap_or_else(|| {
            let pods = self.try_get("/pods").unwrap_or_default();
            panic!("not in time: {what}\n{pods}\n{}", self.log_tail())
        })
    }

    /// Waits until all containers of a pod are ready.
    pub fn ready(&self, name: &str) -> Value {
        self.eventually(&format!("pod {name} is ready"), || {
            let pod = self.pod(name)?;
            let conditions = pod["status"]["conditions"].as_array()?;
            let ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
            ready.then_some(pod)
        })
    }

    /// A container's log through the kubelet's port.
    pub fn container_log(&self, pod: &str, container: &str) -> String {
        self.try_get(&format!("/containerLogs/default/{pod}-{NODE}/{container}")).unwrap_or_default()
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.folder.join("kubelet.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(crate::limits::LOG_TAIL)..].join("\n")
    }

    /// Ends it; what it would have collected later is removed, and nothing of it may stay.
    pub fn finish(mut self, daemon: &Daemon) {
        self.stop();
        daemon.remove_pods();
        self.sweep();
        let left: Vec<PathBuf> = self.cgroups().into_iter().filter(|cgroup| cgroup.exists()).collect();
        assert!(left.is_empty(), "cgroups of the kubelet are still in use: {left:?}");
    }

    /// Takes its mounts and cgroups away.
    fn sweep(&mut self) {
        self.stop();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        let mut points: Vec<&str> = points.filter(|p| Path::new(p).starts_with(&self.folder)).collect();
        points.reverse();
        for point in points {
            nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH).ok();
        }
        crate::eventually::within(SOON, || {
            let left = self.cgroups().iter().filter(|cgroup| !remove_cgroups(cgroup)).count();
            (left == 0).then_some(())
        });
        if self.made_plugins {
            fs::remove_dir_all(DEVICE_PLUGINS).ok();
        }
    }
}

/// Removes a cgroup and those below it; whether it is gone.
fn remove_cgroups(folder: &Path) -> bool {
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    fs::remove_dir(folder).is_ok() || !folder.exists()
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.sweep();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
fn put(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
