//! The daemon dies at each named step of its procedures, as by SIGKILL; the next one goes on, the caller's retry
//! converges, and in the end nothing is left.
//!
//! Needs the program with the feature `failpoints`: `make build FAILPOINTS=1`. Never: a step that is not listed.

use std::fs;

use cri_api::v1::{self, ContainerState};
use tests::{
    ask,
    daemon::{Daemon, Options},
    eventually::within,
    failpoints::{self, Failpoints},
    host,
    image_file::DEMO,
    limits::SOON,
};

/// Steps that an ordinary life does not reach: a silent shim, a lost one, a result of CNI, a file system without
/// overlay.
const ELSEWHERE: [&str; 4] = ["container.kill_cgroup", "container.lost", "network.record", "rootfs.bind"];

fn is_of_images(step: &str) -> bool {
    step.starts_with("image.") || step.starts_with("layer.")
}

/// An image, removed and imported again.
fn image_life(daemon: &Daemon) -> Result<(), String> {
    let remove = v1::RemoveImageRequest { image: ask::image(DEMO) };
    daemon.client().remove_image(remove).map_err(|status| status.to_string())?;
    let done = daemon.cli(&["image", "import", &daemon.path("demo.tar").to_string_lossy()]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if done.status.success() { Ok(()) } else { Err(said) }
}

fn update() -> v1::LinuxContainerResources {
    v1::LinuxContainerResources { cpu_shares: 512, ..Default::default() }
}

/// A pod with a container from its beginning to its end. As a kubelet asks: what is there already from an earlier
/// try is gone on with.
fn life(daemon: &Daemon) -> Result<(), String> {
    let client = daemon.client();
    let text = |status: tonic::Status| status.to_string();
    // A pod whose removal was begun is removed first.
    for pod in client.list_pod_sandbox(v1::ListPodSandboxRequest::default()).map_err(text)?.items {
        if pod.state() == v1::PodSandboxState::SandboxNotready {
            client.remove_pod_sandbox(ask::remove_pod(&pod.id)).map_err(text)?;
        }
    }
    // With a PID namespace of the pod's: its first process is one thing more that could be left.
    let shared = v1::NamespaceOption { pid: v1::NamespaceMode::Pod as i32, ..Default::default() };
    let mut pod = ask::pod("p", &daemon.path("logs"));
    pod.linux.get_or_insert_default().security_context.get_or_insert_default().namespace_options =
        Some(shared.clone());
    let sandbox = client.run_pod_sandbox(ask::run(&pod)).map_err(text)?.pod_sandbox_id;
    let mut wish = ask::container("c", DEMO, &["sleep", "600"]);
    tests::workload::security(&mut wish).namespace_options = Some(shared);
    let id = client.create_container(ask::create(&sandbox, &wish, &pod)).map_err(text)?.container_id;
    let state = || -> Result<ContainerState, String> {
        Ok(client.container_status(ask::status(&id)).map_err(text)?.status.unwrap_or_default().state())
    };
    if state()? == ContainerState::ContainerCreated {
        // It may run by now: the start that an earlier daemon had begun is ended by this one.
        client.start_container(ask::start(&id)).map_err(text).or_else(|error| match state()? {
            ContainerState::ContainerRunning => Ok(v1::StartContainerResponse::default()),
            _ => Err(error),
        })?;
    }
    within(SOON, || state().ok().filter(|state| *state != ContainerState::ContainerUnknown));
    if state()? == ContainerState::ContainerRunning {
        let answer = client.exec_sync(ask::exec(&id, &["/demo", "true"], 10)).map_err(text)?;
        assert_eq!(answer.exit_code, 0);
        client.update_container_resources(ask::update(&id, update())).map_err(text)?;
    }
    client.stop_container(ask::stop(&id, 0)).map_err(text)?;
    let status = client.container_status(ask::status(&id)).map_err(text)?.status.unwrap_or_default();
    assert_eq!(
        (status.state(), status.exit_code),
        (ContainerState::ContainerExited, 137),
        "{}",
        status.message
    );
    client.remove_container(ask::remove(&id)).map_err(text)?;
    client.stop_pod_sandbox(ask::stop_pod(&sandbox)).map_err(text)?;
    client.remove_pod_sandbox(ask::remove_pod(&sandbox)).map_err(text)?;
    Ok(())
}

/// Kills the daemon at this step of a life. `false`: the life did not come by it.
fn dies_at(daemon: &mut Daemon, points: &Failpoints, step: &str) -> bool {
    points.set(step, "kill");
    if step == "recover.begin" {
        daemon.kill9();
        daemon.spawn();
    } else if is_of_images(step) {
        image_life(daemon).ok();
    } else {
        life(daemon).ok();
    }
    let died = within(SOON, || daemon.nursery().ended(daemon.pid())).is_some();
    points.clear(step);
    if died {
        daemon.forget();
    }
    died
}

fn entries(daemon: &Daemon, folder: &str) -> usize {
    fs::read_dir(daemon.path("root/snapshots").join(folder)).expect("the store is there").count()
}

#[test]
fn the_daemon_may_die_at_every_step() {
    let Some(program) = failpoints::program() else { return };
    let points = Failpoints::default();
    let options = Options { program: Some(program), environment: points.environment(), ..Options::default() };
    let Some(mut daemon) = Daemon::start_with(options) else { return };
    let list = failpoints::points();
    let mut died = 0;
    let names = list.iter().map(|point| point.name.as_str());
    for step in names.filter(|step| !step.starts_with("supervise.") && !ELSEWHERE.contains(step)) {
        assert!(
            dies_at(&mut daemon, &points, step),
            "no life comes by the step {step}; is it in the list of others?"
        );
        daemon.launch();
        if is_of_images(step) {
            image_life(&daemon).unwrap_or_else(|e| panic!("after a death at {step}: {e}"));
            assert_eq!(entries(&daemon, "layers"), 1, "{step} leaves a layer");
            assert_eq!(entries(&daemon, "chains"), 1, "{step} leaves a layer's name");
            // Layers are numbered; the new one has another number.
            daemon.settle();
        }
        life(&daemon).unwrap_or_else(|e| panic!("after a death at {step}: {e}\n{}", daemon.log_tail()));
        daemon.check_leaks();
        died += 1;
    }
    host::figure(&format!("the daemon died at {died} named steps: every retry converged, nothing was left"));
}
