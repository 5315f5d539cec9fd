//! The host was restarted, or only the state folder is gone: nothing of it runs, every end is told with its reason, what
//! is outside of the host is given back, names are free.
//!
//! Another boot id is mounted over the kernel's in the daemon's own mount namespace. Never: a daemon that is told so.

use cri_api::v1::{self, ContainerState, PodSandboxState};
use tests::{
    ask,
    daemon::{Daemon, Pod},
    image_file::DEMO,
};

use crate::cni::Folder;

/// Containers in all states that a host may end in.
struct Life {
    pod: Pod,
    running: String,
    exited: String,
    created: String,
}

fn live(daemon: &Daemon) -> Life {
    let pod = daemon.run_pod("pod");
    let running = daemon.run(&pod, "running", &["sleep", "600"]);
    let exited = daemon.run(&pod, "exited", &["exit", "3"]);
    daemon.exited(&exited);
    let created = daemon.create(&pod, &ask::container("created", DEMO, &["sleep", "600"]));
    Life { pod, running, exited, created }
}

/// What the kubelet sees then: ends with a reason, and an end that was told before as it was.
fn told(daemon: &Daemon, life: &Life, reason: &str) {
    let listed = daemon.client().list_pod_sandbox(v1::ListPodSandboxRequest::default()).unwrap().items;
    let states: Vec<_> = listed.iter().map(|pod| (pod.id.clone(), pod.state())).collect();
    assert_eq!(states, [(life.pod.id.clone(), PodSandboxState::SandboxNotready)]);
    for id in [&life.running, &life.created] {
        let status = daemon.status(id);
        let seen = (status.state(), status.exit_code, status.reason.as_str());
        assert_eq!(seen, (ContainerState::ContainerExited, 255, reason), "{status:?}");
        assert!(status.finished_at > 0, "{status:?}");
    }
    let status = daemon.status(&life.exited);
    assert_eq!((status.exit_code, status.reason.as_str()), (3, "Error"), "{status:?}");
    let error = daemon.client().start_container(ask::start(&life.created)).unwrap_err();
    assert!(error.message().contains("exited"), "{error}");
}

/// Removes the pod, and runs one of the same name to its end.
fn again(daemon: &Daemon, life: &Life) {
    let client = daemon.client();
    client.stop_pod_sandbox(ask::stop_pod(&life.pod.id)).unwrap();
    client.remove_pod_sandbox(ask::remove_pod(&life.pod.id)).unwrap();
    let pod = daemon.run_pod("pod");
    let id = daemon.run(&pod, "running", &["exit", "5"]);
    assert_eq!(daemon.exited(&id).exit_code, 5);
    client.stop_pod_sandbox(ask::stop_pod(&pod.id)).unwrap();
    client.remove_pod_sandbox(ask::remove_pod(&pod.id)).unwrap();
}

#[test]
fn after_a_restart_of_the_host_all_has_ended_and_is_given_back() {
    let folder = Folder::new();
    let Some(mut daemon) = folder.scripted() else { return };
    let life = live(&daemon);
    daemon.reboot(Some("6f0d7b3e-0000-4000-8000-00000000b007"));
    daemon.launch();
    told(&daemon, &life, "NodeReboot");
    // The kubelet may well remove the containers without a word about the pod: its address is given back with the pod.
    assert_eq!(folder.asked("scripted", "DEL", &life.pod.id), 0);
    again(&daemon, &life);
    assert!(folder.asked("scripted", "DEL", &life.pod.id) >= 1, "{:?}", folder.journal());
    // And once more, with what came of it; then with the true boot id.
    let life = live(&daemon);
    daemon.reboot(Some("6f0d7b3e-0000-4000-8000-00000000b008"));
    daemon.launch();
    told(&daemon, &life, "NodeReboot");
    daemon.kill9();
    daemon.launch();
    told(&daemon, &life, "NodeReboot");
    daemon.reboot(None);
    daemon.launch();
    told(&daemon, &life, "NodeReboot");
    again(&daemon, &life);
}

#[test]
fn without_its_state_folder_all_has_ended_though_the_host_was_not_restarted() {
    let Some(mut daemon) = Daemon::start() else { return };
    let life = live(&daemon);
    daemon.reboot(None);
    daemon.launch();
    told(&daemon, &life, "StateLost");
    again(&daemon, &life);
}

#[test]
fn what_still_runs_without_a_state_folder_is_ended() {
    let Some(mut daemon) = Daemon::start() else { return };
    let life = live(&daemon);
    daemon.lose_state();
    daemon.launch();
    told(&daemon, &life, "StateLost");
    again(&daemon, &life);
}
