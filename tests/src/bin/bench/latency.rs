//! How long calls take, ours and containerd's in turn, through the same client. Pods on the host's network, so that
//! both do the same work; and ours with a network of their own.
//!
//! Never: a pod that is not removed.

use std::{path::Path, time::Instant};

use cri_api::v1;
use tests::{ask, client::CriClient, daemon::Daemon, image_file::DEMO};

use crate::{
    containerd::Containerd,
    limits::{EXECS, PODS},
    median::Values,
    output::Table,
};

/// Milliseconds of each call.
#[derive(Debug, Default)]
struct Times {
    run: Values,
    create: Values,
    start: Values,
    sum: Values,
    exec: Values,
    status: Values,
    stop: Values,
    remove: Values,
}

/// Makes a call and adds its time in milliseconds.
pub(crate) fn timed<T>(values: &mut Values, call: impl FnOnce() -> Result<T, tonic::Status>) -> T {
    let begin = Instant::now();
    let answer = call().unwrap_or_else(|e| panic!("a call of the benchmark failed: {e}"));
    values.add(begin.elapsed().as_secs_f64() * 1000.0);
    answer
}

/// A pod on the host's network, or with one of its own.
pub(crate) fn pod(name: &str, logs: &Path, host_network: bool) -> v1::PodSandboxConfig {
    let mut config = ask::pod(name, logs);
    if host_network {
        // The host's name space is the host's: runc refuses a name there.
        config.hostname.clear();
    }
    let network = if host_network { v1::NamespaceMode::Node } else { v1::NamespaceMode::Pod };
    let options = v1::NamespaceOption {
        network: network as i32,
        pid: v1::NamespaceMode::Container as i32,
        ..Default::default()
    };
    let security = v1::LinuxSandboxSecurityContext { namespace_options: Some(options), ..Default::default() };
    config.linux = Some(v1::LinuxPodSandboxConfig { security_context: Some(security), ..Default::default() });
    config
}

/// A container of that pod.
pub(crate) fn container(pod: &v1::PodSandboxConfig, args: &[&str]) -> v1::ContainerConfig {
    let mut config = ask::container("c", DEMO, args);
    let sandbox = pod.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    config.linux = Some(v1::LinuxContainerConfig {
        security_context: Some(v1::LinuxContainerSecurityContext {
            namespace_options: sandbox.and_then(|security| security.namespace_options.clone()),
            ..Default::default()
        }),
        ..Default::default()
    });
    config
}

fn cycle(client: &CriClient, logs: &Path, nr: usize, host_network: bool, times: &mut Times) {
    let config = pod(&format!("bench{nr}"), logs, host_network);
    let begin = Instant::now();
    let sandbox = timed(&mut times.run, || client.run_pod_sandbox(ask::run(&config))).pod_sandbox_id;
    let wish = container(&config, &["sleep", "600"]);
    let request = ask::create(&sandbox, &wish, &config);
    let id = timed(&mut times.create, || client.create_container(request)).container_id;
    timed(&mut times.start, || client.start_container(ask::start(&id)));
    times.sum.add(begin.elapsed().as_secs_f64() * 1000.0);
    for _ in 0..EXECS {
        timed(&mut times.exec, || client.exec_sync(ask::exec(&id, &["/demo", "true"], 30)));
        timed(&mut times.status, || client.container_status(ask::status(&id)));
    }
    timed(&mut times.stop, || client.stop_pod_sandbox(ask::stop_pod(&sandbox)));
    timed(&mut times.remove, || client.remove_pod_sandbox(ask::remove_pod(&sandbox)));
}

pub(crate) fn measure(daemon: &Daemon, peer: Option<&Containerd>, table: &mut Table) {
    let (mut ours, mut own_network, mut theirs) = (Times::default(), Times::default(), Times::default());
    // The first of each warms up what is made once.
    let mut warm = Times::default();
    for nr in 0..=PODS {
        let first = nr == 0;
        cycle(daemon.client(), &daemon.path("logs"), nr, true, if first { &mut warm } else { &mut ours });
        if let Some(peer) = peer {
            cycle(&peer.client, &peer.logs(), nr, true, if first { &mut warm } else { &mut theirs });
        }
        cycle(
            daemon.client(),
            &daemon.path("logs"),
            nr,
            false,
            if first { &mut warm } else { &mut own_network },
        );
    }
    let mut row = |what: &str, get: fn(&Times) -> &Values| {
        table.row(what, get(&ours), peer.map(|_| ("containerd", get(&theirs))));
    };
    row("RunPodSandbox, host network, ms", |times| &times.run);
    row("CreateContainer, ms", |times| &times.create);
    row("StartContainer, ms", |times| &times.start);
    row("the three together, ms", |times| &times.sum);
    row("ExecSync of `true`, ms", |times| &times.exec);
    row("ContainerStatus, ms", |times| &times.status);
    row("StopPodSandbox with a running container, ms", |times| &times.stop);
    row("RemovePodSandbox, ms", |times| &times.remove);
    table.row("RunPodSandbox, own network (loopback), ms", &own_network.run, None);
    table.row("the three together, own network, ms", &own_network.sum, None);
}
