//! Many things are stuck at once: a frozen container, a stopped shim, a hung runtime, a hung plugin, a dead registry. Each
//! call that needs one of them ends at its deadline and says where it was; nothing else is held up.
//!
//! The times of the other calls are printed, not asserted. Never: leaves anything stuck behind.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use cri_api::v1;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tests::{
    ask,
    client::CriClient,
    daemon::{Daemon, Options, Pod},
    eventually::eventually,
    host,
    image_file::DEMO,
    limits::SOON,
};
use tonic::{Code, Status};

use crate::cni::{Folder, put, scripted};

/// What each blocked caller gives its call: longer than a step may take before it is called stuck.
const DEADLINE: Duration = Duration::from_secs(14);

/// Rounds of looks for each life beside them: enough for a hundredth part.
const LOOKS: usize = 12;

/// How much later than that its answer may be here, on a busy machine.
const LATE: Duration = Duration::from_secs(2);

/// A shell script as a program.
fn program(path: &Path, text: &str) {
    put(path, text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A runtime that never ends its create, or does not end what it is told not to end by a file of the command's name.
fn hung_runtime(folder: &Folder, name: &str) -> PathBuf {
    let path = folder.path("bin").join(name);
    let (runc, told) = (host::find("runc").unwrap(), folder.path("told"));
    let hangs = match name {
        "hung" => "[ \"$word\" = create ]".to_owned(),
        _ => format!("[ -e \"{}/hang-$word\" ]", told.display()),
    };
    let text = format!("#!/bin/sh\nfor word; do {hangs} && exec sleep 600; done\n");
    program(&path, &format!("{text}exec {} \"$@\"\n", runc.display()));
    path
}

/// What the other runtime hangs in, when it is told so.
const HANGS: [&str; 2] = ["delete", "update"];

/// Options with these runtimes, and a plugin that may take longer than the callers wait.
fn with_hung_runtime(folder: &Folder) -> Options {
    let mut options = folder.options();
    options.set.retain(|setting| !setting.starts_with("cni.timeout_seconds"));
    for name in ["hung", "later"] {
        options.set.extend([
            format!("runtimes.{name}.path={}", hung_runtime(folder, name).display()),
            format!("runtimes.{name}.root={}", folder.path("runtimes").join(name).display()),
            format!("runtimes.{name}.kind=runc"),
        ]);
    }
    options
}

/// A pod of this handler.
fn run_pod(daemon: &Daemon, name: &str, handler: &str) -> Pod {
    let config = ask::pod(name, &daemon.path("logs"));
    let request = v1::RunPodSandboxRequest { runtime_handler: handler.into(), ..ask::run(&config) };
    let id = daemon.client().run_pod_sandbox(request).unwrap().pod_sandbox_id;
    Pod { id, config }
}

fn shim(daemon: &Daemon, id: &str) -> Pid {
    let shims = daemon.client().shims().unwrap().containers;
    let pid = shims.iter().find(|shim| shim.container_id == id).unwrap().shim_pid;
    Pid::from_raw(pid.cast_signed())
}

/// A cgroup above a container that stays frozen whatever is done below it (cgroup v1's freezer).
struct Frozen(PathBuf);

impl Frozen {
    fn set(&self, word: &str) {
        put(&self.0.join("freezer.state"), word);
        eventually(SOON, "the freezer", || {
            (fs::read_to_string(self.0.join("freezer.state")).unwrap().trim() == word).then_some(())
        });
    }
}

/// A test that failed leaves nothing that cannot be killed.
impl Drop for Frozen {
    fn drop(&mut self) {
        if let Ok(mut state) = fs::File::options().write(true).open(self.0.join("freezer.state")) {
            state.write_all(b"THAWED").ok();
        }
    }
}

type Blocked = Box<dyn FnOnce(CriClient) -> Result<(), Status> + Send>;

/// All that is stuck, and what a call needs to run into it.
struct Stuck {
    frozen: Frozen,
    cold: String,
    stopped: (String, Pid),
    hung: String,
    plugin: v1::PodSandboxConfig,
    /// Containers that run, and whose runtime hangs from now on; and the pod of the last.
    later: [String; 3],
    goes: String,
    /// A pod whose plugin hangs when it is to give back.
    unplugged: String,
    /// It takes connections into its queue and answers none.
    registry: (String, TcpListener),
}

fn parent(daemon: &Daemon) -> String {
    format!("/{}/cold", daemon.instance())
}

impl Stuck {
    fn make(daemon: &Daemon, folder: &Folder) -> Self {
        let mut config = ask::pod("cold", &daemon.path("logs"));
        config.linux.get_or_insert_default().cgroup_parent = parent(daemon);
        let id = daemon.client().run_pod_sandbox(ask::run(&config)).unwrap().pod_sandbox_id;
        let cold = daemon.run(&Pod { id, config }, "cold", &["sleep", "600"]);
        let frozen = Frozen(Path::new("/sys/fs/cgroup/freezer").join(&parent(daemon)[1..]));
        let pod = daemon.run_pod("stopped");
        let stopped = daemon.run(&pod, "stopped", &["sleep", "600"]);
        let pid = shim(daemon, &stopped);
        let hung = run_pod(daemon, "hung", "hung");
        let hung = daemon.create(&hung, &ask::container("hung", DEMO, &["sleep", "600"]));
        let (pod, goes) = (run_pod(daemon, "later", "later"), run_pod(daemon, "goes", "later"));
        let later = [(&pod, "updated"), (&pod, "removed"), (&goes, "goes")]
            .map(|(pod, name)| daemon.run(pod, name, &["sleep", "600"]));
        let unplugged = daemon.run_pod("unplugged").id;
        HANGS.iter().for_each(|word| put(&folder.path("told").join(format!("hang-{word}")), ""));
        // Only now, so that the pods above have a network.
        folder.tell("ADD", Some("case $CNI_ARGS in *K8S_POD_NAME=plugin*) sleep 600;; esac"));
        folder.tell("DEL", Some("case $CNI_ARGS in *K8S_POD_NAME=unplugged*) sleep 600;; esac"));
        frozen.set("FROZEN");
        kill(pid, Signal::SIGSTOP).unwrap();
        let plugin = ask::pod("plugin", &daemon.path("logs"));
        let listener = daemon.network().listen("127.0.0.1:0");
        let registry = format!("127.0.0.1:{}/x:1", listener.local_addr().unwrap().port());
        let (stopped, registry) = ((stopped, pid), (registry, listener));
        Self { frozen, cold, stopped, hung, plugin, later, goes: goes.id, unplugged, registry }
    }

    /// The blocked calls: a name, the step its error must name, the call.
    fn calls(&self) -> Vec<(&'static str, &'static str, Blocked)> {
        let (cold, stopped, hung) = (self.cold.clone(), self.stopped.0.clone(), self.hung.clone());
        let (again, reopened) = (hung.clone(), stopped.clone());
        let (plugin, registry) = (self.plugin.clone(), self.registry.0.clone());
        let [updated, removed, _] = self.later.clone();
        let (goes, unplugged) = (self.goes.clone(), self.unplugged.clone());
        vec![
            ("stop a frozen container", "container.end (container cold of pod test/cold)", {
                Box::new(move |client| client.stop_container(ask::stop(&cold, 0)).map(drop))
            }),
            ("exec by a stopped shim", "exec.ask (container stopped of pod test/stopped)", {
                Box::new(move |client| {
                    client.exec_sync(ask::exec(&stopped, &["/demo", "true"], 60)).map(drop)
                })
            }),
            ("reopen by a stopped shim", "log.reopen (container stopped of pod test/stopped)", {
                let request = v1::ReopenContainerLogRequest { container_id: reopened };
                Box::new(move |client| client.reopen_container_log(request).map(drop))
            }),
            ("start by a hung runtime", "runtime.create (container hung of pod test/hung)", {
                Box::new(move |client| client.start_container(ask::start(&hung)).map(drop))
            }),
            ("stop of what is being started", "runtime.create (container hung of pod test/hung)", {
                Box::new(move |client| client.stop_container(ask::stop(&again, 0)).map(drop))
            }),
            ("run with a hung plugin", "network.attach (pod test/plugin)", {
                Box::new(move |client| client.run_pod_sandbox(ask::run(&plugin)).map(drop))
            }),
            ("pull from a dead registry", "pull.resolve (image 127.0.0.1", {
                let request = v1::PullImageRequest { image: ask::image(&registry), ..Default::default() };
                Box::new(move |client| client.pull_image(request).map(drop))
            }),
            ("update by a hung runtime", "runtime.update (container updated of pod test/later)", {
                let limits = v1::LinuxContainerResources { cpu_shares: 512, ..Default::default() };
                Box::new(move |client| {
                    client.update_container_resources(ask::update(&updated, limits)).map(drop)
                })
            }),
            ("removal by a hung runtime", "container.delete (container removed of pod test/later)", {
                Box::new(move |client| client.remove_container(ask::remove(&removed)).map(drop))
            }),
            ("a pod's removal by a hung runtime", "container.delete (container goes of pod test/goes)", {
                Box::new(move |client| client.remove_pod_sandbox(ask::remove_pod(&goes)).map(drop))
            }),
            ("stop with a hung plugin", "network.detach (pod test/unplugged)", {
                Box::new(move |client| client.stop_pod_sandbox(ask::stop_pod(&unplugged)).map(drop))
            }),
        ]
    }

    /// Lets everything go.
    fn end(self, daemon: &Daemon, folder: &Folder) {
        self.frozen.set("THAWED");
        kill(self.stopped.1, Signal::SIGCONT).unwrap();
        folder.tell("ADD", None);
        folder.tell("DEL", None);
        HANGS
            .iter()
            .for_each(|word| fs::remove_file(folder.path("told").join(format!("hang-{word}"))).unwrap());
        // The hung runtime and the plugin: their ends are failures, and all is taken back.
        for process in daemon.nursery().descendants().iter().filter(|process| process.name == "sleep") {
            kill(Pid::from_raw(process.pid.cast_signed()), Signal::SIGKILL).ok();
        }
        daemon.remove_pods();
        // Pods' parents are the kubelet's.
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().filter_map(Result::ok) {
            fs::remove_dir(hierarchy.path().join(&parent(daemon)[1..])).ok();
        }
    }
}

/// How long calls of one kind took.
#[derive(Default)]
struct Times(Vec<(&'static str, Vec<Duration>)>);

impl Times {
    fn take<T>(&mut self, name: &'static str, call: impl FnOnce() -> Result<T, Status>) -> T {
        let begun = Instant::now();
        let done = call().unwrap_or_else(|e| panic!("{name}, while others are stuck: {e}"));
        let took = begun.elapsed();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, times)) => times.push(took),
            None => self.0.push((name, vec![took])),
        }
        done
    }

    fn print(mut self) {
        for (name, times) in &mut self.0 {
            times.sort();
            let p99 = times[(times.len() * 99).div_ceil(100) - 1];
            let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
            host::figure(&format!(
                "{name} while all that is stuck: median {median:.1?}, p99 {p99:.1?}, longest {worst:.1?} of {}",
                times.len()
            ));
        }
    }
}

/// One round of what a kubelet asks all the time, about everything that there is.
fn look(daemon: &Daemon, times: &mut Times) {
    let client = daemon.client();
    let pods = times.take("ListPodSandbox", || client.list_pod_sandbox(Default::default())).items;
    let containers = times.take("ListContainers", || client.list_containers(Default::default())).containers;
    times.take("ListContainerStats", || client.list_container_stats(Default::default()));
    times.take("ListPodSandboxStats", || client.list_pod_sandbox_stats(Default::default()));
    times.take("Status", || client.status(Default::default()));
    times.take("ListImages", || client.list_images(Default::default()));
    for container in containers {
        times.take("ContainerStatus", || client.container_status(ask::status(&container.id)));
    }
    for pod in pods {
        times.take("PodSandboxStatus", || client.pod_sandbox_status(ask::pod_status(&pod.id)));
    }
}

/// Another container's life, from create to remove.
fn live(daemon: &Daemon, pod: &Pod, round: usize, times: &mut Times) {
    let client = daemon.client();
    let config = ask::container(&format!("calm{round}"), DEMO, &["sleep", "600"]);
    let create = || client.create_container(ask::create(&pod.id, &config, &pod.config));
    let id = times.take("CreateContainer", create).container_id;
    times.take("StartContainer", || client.start_container(ask::start(&id)));
    times.take("ExecSync", || client.exec_sync(ask::exec(&id, &["/demo", "true"], 10)));
    times.take("StopContainer", || client.stop_container(ask::stop(&id, 0)));
    times.take("RemoveContainer", || client.remove_container(ask::remove(&id)));
}

/// What the command line says of the stuck things while they are.
fn told(daemon: &Daemon) {
    let stuck = || {
        let output = daemon.cli(&["status"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let steps = [
        "runtime.create",
        "container.end",
        "network.attach",
        "pull.resolve",
        "runtime.update",
        "container.delete",
        "network.detach",
    ];
    let status = eventually(DEADLINE, "all of it in `taffrail status`", || {
        let said = stuck();
        steps.iter().all(|step| said.contains(step)).then_some(said)
    });
    assert!(status.contains("CNI plugin scripted (ADD, network scripted)"), "{status}");
    let explained = daemon.cli(&["explain", "test/hung/hung"]);
    let text = String::from_utf8_lossy(&explained.stdout).into_owned();
    for words in
        ["container hung of pod test/hung", "create: container.rootfs", "now: start", "runtime.create"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn what_is_stuck_is_told_and_holds_up_nothing_else() {
    if host::cgroup_v2_only() {
        return host::skip("freezer", "no v1 freezer, which keeps a process from dying");
    }
    let folder = Folder::new();
    folder.script("scripted");
    folder.configure("10-scripted.conflist", &scripted("scripted"));
    let Some(daemon) = Daemon::start_with(with_hung_runtime(&folder)) else { return };
    let calm = daemon.run_pod("calm");
    let stuck = Stuck::make(&daemon, &folder);
    let mut times = Times::default();
    let left = AtomicUsize::new(stuck.calls().len());
    thread::scope(|scope| {
        for (name, place, call) in stuck.calls() {
            let (client, left) = (daemon.client().within(DEADLINE), &left);
            if name.starts_with("stop of what") {
                eventually(SOON, "the start before it", || {
                    explain(&daemon, "test/hung/hung")
                        .unwrap()
                        .contains("in step runtime.create")
                        .then_some(())
                });
            }
            scope.spawn(move || {
                let begun = Instant::now();
                let done = call(client);
                let took = begun.elapsed();
                left.fetch_sub(1, Ordering::SeqCst);
                let error = done.expect_err(name);
                assert!(took < DEADLINE + LATE, "{name}: {took:?}");
                assert!(error.message().contains(place), "{name}: {error}");
                assert!(
                    matches!(error.code(), Code::DeadlineExceeded | Code::Unavailable | Code::Internal),
                    "{name}: {error}"
                );
            });
        }
        let telling = scope.spawn(|| told(&daemon));
        let mut round = 0;
        while left.load(Ordering::SeqCst) > 0 {
            for _ in 0..LOOKS {
                look(&daemon, &mut times);
            }
            live(&daemon, &calm, round, &mut times);
            round += 1;
        }
        telling.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    times.print();
    stuck.end(&daemon, &folder);
}

#[test]
fn a_hung_runtime_is_killed_at_our_own_bound() {
    if !host::full() {
        return;
    }
    let folder = Folder::new();
    let Some(daemon) = Daemon::start_with(with_hung_runtime(&folder)) else { return };
    let pod = run_pod(&daemon, "hung", "hung");
    let id = daemon.create(&pod, &ask::container("c", DEMO, &["sleep", "600"]));
    let error = daemon.client().start_container(ask::start(&id)).unwrap_err();
    let place = "start was still in step runtime.create (container c of pod test/hung) after 60 s";
    assert!(error.message().contains(place) && error.message().contains("the runtime was killed"), "{error}");
    let status = daemon.exited(&id);
    assert_eq!((status.exit_code, status.reason.as_str()), (128, "StartError"), "{status:?}");
}

fn explain(daemon: &Daemon, wanted: &str) -> Result<String, String> {
    let output = daemon.cli(&["explain", wanted]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn a_timeline_is_found_by_id_and_name_and_outlives_the_daemon() {
    let Some(mut daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("web");
    let id = daemon.run(&pod, "app", &["exit", "3"]);
    daemon.exited(&id);
    for wanted in [&id, &id[..12], "app", "web/app", "test/web/app"] {
        let text = explain(&daemon, wanted).unwrap();
        for words in [&*id, "container app of pod test/web", "start: runtime.create", "exited with 3"] {
            assert!(text.contains(words), "{wanted}: no {words}: {text}");
        }
        assert!(text.contains("now: nothing is under way"), "{text}");
    }
    let text = explain(&daemon, "test/web").unwrap();
    for words in ["pod test/web", "run: sandbox.namespaces", "state: ready", "app", "exited"] {
        assert!(text.contains(words), "no {words}: {text}");
    }
    let other = daemon.run_pod("other");
    daemon.create(&other, &ask::container("app", DEMO, &["true"]));
    let error = explain(&daemon, "app").unwrap_err();
    assert!(
        error.contains("may be 2 of them") && error.contains("container app of pod test/other"),
        "{error}"
    );
    assert!(explain(&daemon, "nobody").unwrap_err().contains("there is no pod and no container nobody"));
    daemon.restart();
    let text = explain(&daemon, "test/web/app").unwrap();
    for words in ["created", "started", "exited with 3", "before it only records tell"] {
        assert!(text.contains(words), "no {words}: {text}");
    }
    let output = daemon.cli(&["explain", "test/web/app", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((json["state"].as_str(), json["id"].as_str()), (Some("exited"), Some(&*id)));
    daemon.client().remove_container(ask::remove(&id)).unwrap();
    let text = explain(&daemon, &id).unwrap();
    assert!(text.contains("state: gone") && text.contains("remove: container.dismantle"), "{text}");
}

/// A file system of 64 KiB for logs; unmounted with the value.
struct SmallLogs(tempfile::TempDir);

impl SmallLogs {
    fn mount() -> Self {
        let folder = tempfile::Builder::new().prefix("tt-logs.").tempdir_in("/tmp").unwrap();
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("tmpfs"), folder.path(), Some("tmpfs"), flags, Some("size=64k")).unwrap();
        Self(folder)
    }
}

impl Drop for SmallLogs {
    fn drop(&mut self) {
        nix::mount::umount2(self.0.path(), nix::mount::MntFlags::MNT_DETACH).ok();
    }
}

#[test]
fn a_full_log_disk_blocks_nobody() {
    let logs = SmallLogs::mount();
    let Some(daemon) = Daemon::start() else { return };
    let config = ask::pod("full", logs.0.path());
    let id = daemon.client().run_pod_sandbox(ask::run(&config)).unwrap().pod_sandbox_id;
    let pod = Pod { id, config };
    // Ten megabytes into 64 KiB, at ten megabytes a second; then it ends with a code of its own.
    let writer = daemon.run(&pod, "writer", &["pour", "10000000", "1", "9"]);
    let sleeper = daemon.run(&pod, "sleeper", &["trap", "7", "600"]);
    let client = daemon.client().within(DEADLINE);
    assert_eq!(daemon.exited(&writer).exit_code, 9, "it has written all of it");
    assert_eq!(client.exec_sync(ask::exec(&sleeper, &["/demo", "true"], 10)).unwrap().exit_code, 0);
    assert_eq!(client.list_container_stats(Default::default()).unwrap().stats.len(), 1);
    client.stop_container(ask::stop(&sleeper, 10)).unwrap();
    assert_eq!(daemon.exited(&sleeper).exit_code, 7);
    client.remove_pod_sandbox(ask::remove_pod(&pod.id)).unwrap();
}
