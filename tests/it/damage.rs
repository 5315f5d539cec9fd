//! Files of the daemon that are damaged, foreign or from another version: it starts, the object whose file it is can be
//! removed, and the others are not touched.
//!
//! Every kind of file that belongs to a pod or a container meets every mutation: a victim for each file, all of them hit
//! at once while the daemon is dead. Never: a file of which there is no object.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

use cri_api::v1::{self, ContainerState};
use nix::{
    mount::{MsFlags, mount},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tests::{
    ask,
    daemon::{Daemon, Pod},
    eventually::eventually,
    host,
    image_file::DEMO,
    limits::SOON,
};

use crate::cni::put;

/// A way to hurt a file.
#[derive(Debug, Clone, Copy)]
enum Mutation {
    Empty,
    Truncated,
    Garbage,
    Newer,
    Huge,
    Foreign,
    Link,
    Folder,
    Gone,
}

const MUTATIONS: [Mutation; 9] = [
    Mutation::Empty,
    Mutation::Truncated,
    Mutation::Garbage,
    Mutation::Newer,
    Mutation::Huge,
    Mutation::Foreign,
    Mutation::Link,
    Mutation::Folder,
    Mutation::Gone,
];

/// What stands where a link leads; nobody may write there.
const CANARY: &str = "this is not the daemon's";

impl Mutation {
    fn apply(self, path: &Path, canary: &Path) {
        let bytes = fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match self {
            Self::Empty => put(path, ""),
            Self::Truncated => put(path, &text[..text.len() / 2]),
            Self::Garbage => put(path, "\u{0}\u{1}{]not a record"),
            // Records say their version as a number, in JSON or after the name of their form.
            Self::Newer => {
                let json = text
                    .replace("\"version\": 1", "\"version\": 999")
                    .replace("\"version\":1", "\"version\":999");
                put(path, &if json == text { format!("v999 {text}") } else { json });
            }
            Self::Huge => fs::File::options().write(true).open(path).unwrap().set_len(1 << 30).unwrap(),
            Self::Foreign => {
                chown(path, Some(4711), Some(4711)).unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
            }
            Self::Link => {
                fs::remove_file(path).unwrap();
                symlink(canary, path).unwrap();
            }
            Self::Folder => {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
                put(&path.join("inside"), "x");
            }
            Self::Gone => fs::remove_file(path).unwrap(),
        }
    }
}

/// A kind of file: its name, and where that of a victim is.
struct Kind {
    name: &'static str,
    path: fn(&Daemon, &Victim) -> PathBuf,
    /// Its absence means something: the container was half-made, the pod is not whole.
    is_mark: bool,
}

struct Victim {
    pod: Pod,
    running: String,
    exited: String,
}

/// Every kind of file that belongs to one pod or container.
fn kinds() -> Vec<Kind> {
    macro_rules! kind {
        ($name:literal, $is_mark:literal, $folder:literal, $of:expr) => {{
            fn path(daemon: &Daemon, victim: &Victim) -> PathBuf {
                let of: fn(&Victim) -> String = $of;
                daemon.path($folder).join(of(victim))
            }
            Kind { name: $name, path, is_mark: $is_mark }
        }};
    }
    vec![
        kind!("sandbox facts", false, "root/sandboxes", |v| format!("{}/facts.json", v.pod.id)),
        kind!("sandbox ready", true, "root/sandboxes", |v| format!("{}/ready", v.pod.id)),
        kind!("sandbox network", false, "root/sandboxes", |v| format!("{}/network.json", v.pod.id)),
        kind!("container facts", false, "root/containers", |v| format!("{}/facts.json", v.running)),
        kind!("container created", true, "root/containers", |v| format!("{}/created", v.running)),
        kind!("container launched", true, "root/containers", |v| format!("{}/launched", v.running)),
        kind!("container resources", false, "root/containers", |v| format!("{}/resources.json", v.running)),
        kind!("exit record", false, "root/containers", |v| format!("{}/exit", v.exited)),
        kind!("facts of the exited", false, "root/containers", |v| format!("{}/facts.json", v.exited)),
        kind!("layers of a writable part", false, "root/snapshots/active", |v| format!(
            "{}/layers.json",
            v.running
        )),
        kind!("copy of sandbox facts", false, "state/sandboxes", |v| format!("{}/facts.json", v.pod.id)),
        kind!("hosts", false, "state/sandboxes", |v| format!("{}/hosts", v.pod.id)),
        kind!("hostname", false, "state/sandboxes", |v| format!("{}/hostname", v.pod.id)),
        kind!("resolv.conf", false, "state/sandboxes", |v| format!("{}/resolv.conf", v.pod.id)),
        kind!("spec", false, "state/bundles", |v| format!("{}/config.json", v.running)),
        kind!("copy of container facts", false, "state/bundles", |v| format!("{}/facts.json", v.running)),
        kind!("shim status", false, "state/shims", |v| format!("{}/status", v.running)),
        kind!("shim lock", false, "state/shims", |v| format!("{}/lock", v.running)),
        kind!("shim pid file", false, "state/shims", |v| format!("{}/init.pid", v.running)),
        kind!("runtime log", false, "state/shims", |v| format!("{}/runtime.log", v.running)),
        kind!("runtime state", false, "state/runtimes/runc", |v| format!("{}/state.json", v.running)),
        kind!("runtime state of the exited", false, "state/runtimes/runc", |v| format!(
            "{}/state.json",
            v.exited
        )),
    ]
}

fn victim(daemon: &Daemon, name: &str) -> Victim {
    let pod = daemon.run_pod(name);
    let running = daemon.run(&pod, "running", &["sleep", "600"]);
    let limits = v1::LinuxContainerResources { cpu_shares: 512, ..Default::default() };
    daemon.client().update_container_resources(ask::update(&running, limits)).unwrap();
    let exited = daemon.run(&pod, "exited", &["exit", "3"]);
    daemon.exited(&exited);
    Victim { pod, running, exited }
}

/// As a kubelet removes what it does not want any more: whatever is listed.
fn remove_all_but(daemon: &Daemon, kept: &[&str], case: &str) {
    let client = daemon.client();
    let pods = client.list_pod_sandbox(Default::default()).unwrap().items;
    for pod in pods.iter().filter(|pod| !kept.contains(&&*pod.id)) {
        client.stop_pod_sandbox(ask::stop_pod(&pod.id)).unwrap_or_else(|e| panic!("{case}: stop: {e}"));
        client.remove_pod_sandbox(ask::remove_pod(&pod.id)).unwrap_or_else(|e| panic!("{case}: remove: {e}"));
    }
    let containers = client.list_containers(Default::default()).unwrap().containers;
    for container in containers.iter().filter(|container| !kept.contains(&&*container.pod_sandbox_id)) {
        client.stop_container(ask::stop(&container.id, 0)).unwrap_or_else(|e| panic!("{case}: stop: {e}"));
        client.remove_container(ask::remove(&container.id)).unwrap_or_else(|e| panic!("{case}: remove: {e}"));
    }
}

#[test]
fn every_file_may_be_damaged_in_every_way() {
    let Some(mut daemon) = Daemon::start() else { return };
    let calm = daemon.run_pod("calm");
    let untouched = daemon.run(&calm, "c", &["sleep", "600"]);
    daemon.settle();
    let (kinds, canary) = (kinds(), daemon.path("canary"));
    put(&canary, CANARY);
    let mut count = 0;
    for mutation in MUTATIONS {
        let hit: Vec<&Kind> =
            kinds.iter().filter(|kind| !(kind.is_mark && matches!(mutation, Mutation::Gone))).collect();
        let victims: Vec<Victim> = (0..hit.len()).map(|nr| victim(&daemon, &format!("victim{nr}"))).collect();
        daemon.kill9();
        for (kind, victim) in hit.iter().zip(&victims) {
            mutation.apply(&(kind.path)(&daemon, victim), &canary);
            count += 1;
        }
        daemon.launch();
        let case = format!("{mutation:?}");
        let client = daemon.client();
        let status = daemon.status(&untouched);
        assert_eq!(status.state(), ContainerState::ContainerRunning, "{case}: {status:?}");
        assert_eq!(client.exec_sync(ask::exec(&untouched, &["/demo", "true"], 10)).unwrap().exit_code, 0);
        for (kind, victim) in hit.iter().zip(&victims) {
            let case = format!("{mutation:?} of {}", kind.name);
            // Whatever is damaged, what runs goes on running, and an end that was told is not told otherwise.
            let running = eventually(SOON, &format!("{case}: a word about the container"), || {
                Some(daemon.status(&victim.running)).filter(|s| s.state() != ContainerState::ContainerUnknown)
            });
            assert_eq!(running.state(), ContainerState::ContainerRunning, "{case}: {running:?}");
            let exited = daemon.status(&victim.exited);
            let expected =
                if kind.name == "exit record" && !matches!(mutation, Mutation::Foreign) { 255 } else { 3 };
            assert_eq!(exited.state(), ContainerState::ContainerExited, "{case}: {exited:?}");
            assert!([expected, 3].contains(&exited.exit_code), "{case}: {exited:?}");
            assert_eq!(fs::read_to_string(&canary).unwrap(), CANARY, "{case}");
            client
                .remove_pod_sandbox(ask::remove_pod(&victim.pod.id))
                .unwrap_or_else(|e| panic!("{case}: {e}"));
        }
        remove_all_but(&daemon, &[&calm.id], &case);
        daemon.check_leaks();
    }
    host::figure(&format!(
        "{count} damages of {} kinds of files: every object could be removed",
        kinds.len()
    ));
}

#[test]
fn an_object_without_any_record_shows_and_can_be_removed() {
    let Some(mut daemon) = Daemon::start() else { return };
    let calm = daemon.run_pod("calm");
    let untouched = daemon.run(&calm, "c", &["sleep", "600"]);
    daemon.settle();
    let victim = victim(&daemon, "victim");
    daemon.kill9();
    for path in [
        daemon.path("root/sandboxes").join(&victim.pod.id),
        daemon.path("state/sandboxes").join(&victim.pod.id),
        daemon.path("root/containers").join(&victim.running),
        daemon.path("state/bundles").join(&victim.running),
        daemon.path("root/containers").join(&victim.exited),
        daemon.path("state/bundles").join(&victim.exited),
    ] {
        put(&path.join("facts.json"), "{");
    }
    daemon.launch();
    let listed = daemon.client().list_pod_sandbox(Default::default()).unwrap().items;
    let pod = listed.iter().find(|pod| pod.id == victim.pod.id).expect("it shows");
    assert_eq!(pod.state(), v1::PodSandboxState::SandboxNotready);
    assert_eq!(daemon.status(&victim.running).state(), ContainerState::ContainerRunning);
    assert_eq!(daemon.status(&victim.exited).exit_code, 3);
    remove_all_but(&daemon, &[&calm.id], "no facts");
    assert_eq!(daemon.status(&untouched).state(), ContainerState::ContainerRunning);
    daemon.check_leaks();
    // Its name is free.
    let again = daemon.run_pod("victim");
    daemon.create(&again, &ask::container("running", DEMO, &["true"]));
}

/// Files that belong to no one object, and whether the image has to come again when they are hurt.
fn shared(daemon: &Daemon) -> Vec<(&'static str, PathBuf)> {
    let only = |folder: &str| {
        let entry = fs::read_dir(daemon.path(folder)).unwrap().next().expect("there is an image");
        entry.unwrap().path()
    };
    vec![
        ("pod ranges", daemon.path("root/pod_ranges")),
        ("image record", only("root/images")),
        ("layer record", only("root/snapshots/chains")),
        ("image and layer record", only("root/images")),
        ("keeper's lock", daemon.path("state/keeper.lock")),
        ("keeper's socket", daemon.path("state/keeper.sock")),
        ("daemon's socket", daemon.path("state/taffrail.sock")),
    ]
}

#[test]
fn files_that_all_share_may_be_damaged_too() {
    let Some(mut daemon) = Daemon::start() else { return };
    let calm = daemon.run_pod("calm");
    let untouched = daemon.run(&calm, "c", &["sleep", "600"]);
    let canary = daemon.path("canary");
    put(&canary, CANARY);
    let ranges = v1::NetworkConfig { pod_cidr: "10.99.0.0/16".into() };
    let told = v1::UpdateRuntimeConfigRequest {
        runtime_config: Some(v1::RuntimeConfig { network_config: Some(ranges) }),
    };
    let mut count = 0;
    for mutation in MUTATIONS {
        for nr in 0..shared(&daemon).len() {
            daemon.client().update_runtime_config(told.clone()).unwrap();
            let (chain, (name, path)) = (shared(&daemon)[2].1.clone(), shared(&daemon).swap_remove(nr));
            let case = format!("{mutation:?} of {name}");
            let keeper = daemon.nursery().descendants().into_iter().find(|p| p.name == "taffrail-keeper");
            daemon.kill9();
            if name == "keeper's lock" {
                // Else nobody looks at it.
                let keeper = keeper.expect("there is a keeper").pid.cast_signed();
                kill(Pid::from_raw(keeper), Signal::SIGKILL).unwrap();
            }
            if name.ends_with("socket") && !matches!(mutation, Mutation::Foreign) {
                fs::remove_file(&path).unwrap();
                put(&path, "no socket");
            }
            mutation.apply(&path, &canary);
            if name == "image and layer record" {
                mutation.apply(&chain, &canary);
            }
            count += 1;
            daemon.launch();
            assert_eq!(daemon.status(&untouched).state(), ContainerState::ContainerRunning, "{case}");
            // Its program comes from the layer, which is the first one.
            assert!(daemon.path("root/snapshots/layers/0/demo").exists(), "{case}");
            let answer = daemon.client().exec_sync(ask::exec(&untouched, &["/demo", "true"], 10));
            assert_eq!(answer.unwrap_or_else(|e| panic!("{case}: {e}")).exit_code, 0, "{case}");
            daemon.import(&daemon.path("demo.tar"));
            let pod = daemon.run_pod("new");
            let id = daemon.run(&pod, "new", &["exit", "4"]);
            assert_eq!(daemon.exited(&id).exit_code, 4, "{case}");
            daemon.client().remove_pod_sandbox(ask::remove_pod(&pod.id)).unwrap();
            assert_eq!(fs::read_to_string(&canary).unwrap(), CANARY, "{case}");
        }
    }
    host::figure(&format!("{count} damages of files that all objects share: nothing that ran was touched"));
    // Layers that were read again have other numbers.
    daemon.settle();
}

#[test]
fn an_image_whose_layer_is_gone_is_not_there() {
    let Some(mut daemon) = Daemon::start() else { return };
    let status = |daemon: &Daemon| {
        let request = v1::ImageStatusRequest { image: ask::image(DEMO), verbose: false };
        daemon.client().image_status(request).unwrap().image
    };
    assert!(status(&daemon).is_some());
    fs::remove_dir_all(daemon.path("root/snapshots/layers/0")).unwrap();
    assert!(status(&daemon).is_none(), "or no kubelet would pull it again");
    let pod = daemon.run_pod("pod");
    let create = ask::create(&pod.id, &ask::container("c", DEMO, &["exit", "4"]), &pod.config);
    let error = daemon.client().create_container(create).unwrap_err();
    assert_eq!(error.code(), tonic::Code::NotFound, "{error}");
    daemon.import(&daemon.path("demo.tar"));
    assert!(status(&daemon).is_some());
    let id = daemon.run(&pod, "c", &["exit", "4"]);
    assert_eq!(daemon.exited(&id).exit_code, 4);
    daemon.remove_pods();
    // The layer has another number now.
    daemon.settle();
}

#[test]
fn a_pod_whose_mounts_somebody_else_holds_can_be_removed() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("held");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    // Another program with a copy of all mounts, and one of the files open.
    let rootfs = daemon.path("state/bundles").join(&id).join("rootfs/demo");
    let mut holder = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", "exec sleep 600 < \"$0\""])
        .arg(&rootfs)
        .spawn()
        .unwrap();
    eventually(SOON, "the holder", || {
        let open = fs::read_link(format!("/proc/{}/fd/0", holder.id())).unwrap_or_default();
        open.ends_with("demo").then_some(())
    });
    let removed = daemon.client().remove_pod_sandbox(ask::remove_pod(&pod.id));
    holder.kill().unwrap();
    holder.wait().unwrap();
    removed.unwrap();
}

#[test]
fn what_a_killed_runtime_left_mounted_in_its_folder_goes_with_the_container() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("p");
    let id = daemon.create(&pod, &ask::container("c", DEMO, &["exit", "0"]));
    // As runc does with its own program, which it unmounts at once, if nobody kills it.
    let folder = daemon.path("state/runtimes/runc").join(&id);
    let program = folder.join("runc.abcdef");
    fs::create_dir_all(&folder).unwrap();
    put(&program, "");
    let bound = mount(Some("/proc/self/exe"), &program, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    bound.unwrap();
    daemon.client().remove_container(ask::remove(&id)).unwrap();
    assert!(!folder.exists());
}
