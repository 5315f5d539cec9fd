//! How long calls take, ours and containerd's in turn, through the same client: pods on the host's network, and pods on
//! one of their own by the same CNI chain; and ours on the built-in bridge.
//!
//! Never: a pod that is not removed.

use std::{path::Path, time::Instant};

use cri_api::v1;
use tests::{
    ask,
    client::CriClient,
    daemon::{Daemon, Options},
    image_file::DEMO,
};

use crate::{
    chain,
    containerd::Containerd,
    limits::{EXECS, PODS},
    median::Values,
    output::Table,
};

/// Milliseconds of each call.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) run: Values,
    pub(crate) create: Values,
    pub(crate) start: Values,
    pub(crate) sum: Values,
    pub(crate) exec: Values,
    pub(crate) status: Values,
    pub(crate) stop: Values,
    pub(crate) remove: Values,
}

/// A call's name, and where its times are.
type Column = (&'static str, fn(&Times) -> &Values);

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

pub(crate) fn cycle(client: &CriClient, logs: &Path, nr: usize, host_network: bool, times: &mut Times) {
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

/// A daemon of ours whose pods have the same CNI chain as containerd's.
struct WithChain {
    daemon: Daemon,
    _folder: tempfile::TempDir,
}

impl WithChain {
    fn start() -> Option<Self> {
        let plugins = chain::plugins()?;
        let folder = tempfile::Builder::new().prefix("tb.").tempdir_in("/tmp").ok()?;
        let conf = folder.path().join("conf");
        chain::configure(&conf, &folder.path().join("addresses"));
        let set =
            vec![format!("cni.conf_dir={}", conf.display()), format!("cni.bin_dirs={}", plugins.display())];
        let daemon = Daemon::start_with(Options { set, ..Options::default() })?;
        Some(Self { daemon, _folder: folder })
    }

    /// What plugins made for all pods is theirs; here it goes with the network.
    fn end(self) {
        self.daemon.remove_pods();
        for words in [&["nft", "flush", "ruleset"][..], &["ip", "link", "del", "cni0"]] {
            self.daemon.network().run(words);
        }
    }
}

pub(crate) fn measure(daemon: &Daemon, peer: Option<&Containerd>, table: &mut Table) {
    let (mut ours, mut theirs, mut bridge) = (Times::default(), Times::default(), Times::default());
    let (mut our_chain, mut their_chain) = (Times::default(), Times::default());
    let with_chain = WithChain::start();
    // The first of each warms up what is made once.
    let mut warm = Times::default();
    for nr in 0..=PODS {
        let mut one = |client: &CriClient, logs: &Path, host_network: bool, times: &mut Times| {
            cycle(client, logs, nr, host_network, if nr == 0 { &mut warm } else { times });
        };
        one(daemon.client(), &daemon.path("logs"), true, &mut ours);
        if let Some(peer) = peer {
            one(&peer.client, &peer.logs(), true, &mut theirs);
        }
        if let Some(WithChain { daemon, .. }) = &with_chain {
            one(daemon.client(), &daemon.path("logs"), false, &mut our_chain);
        }
        if let Some(peer) = peer {
            one(&peer.client, &peer.logs(), false, &mut their_chain);
        }
        one(daemon.client(), &daemon.path("logs"), false, &mut bridge);
    }
    if let Some(with_chain) = with_chain {
        with_chain.end();
    }
    let mut rows = |kind: &str, mine: &Times, others: &Times, what: &[Column]| {
        for (call, get) in what {
            table.row(&format!("{call}{kind}, ms"), get(mine), peer.map(|_| ("containerd", get(others))));
        }
    };
    let run: Column = ("RunPodSandbox", |times| &times.run);
    let sum: Column = ("the three together", |times| &times.sum);
    let stop: Column = ("StopPodSandbox with a running container", |times| &times.stop);
    let rest: [Column; 5] = [
        ("CreateContainer", |times| &times.create),
        ("StartContainer", |times| &times.start),
        ("ExecSync of `true`", |times| &times.exec),
        ("ContainerStatus", |times| &times.status),
        ("RemovePodSandbox", |times| &times.remove),
    ];
    rows("", &ours, &theirs, &rest);
    rows(", host network", &ours, &theirs, &[run, sum, stop]);
    rows(", CNI chain", &our_chain, &their_chain, &[run, sum, stop]);
    rows(", built-in bridge beside the peer's CNI chain", &bridge, &their_chain, &[run, sum, stop]);
    let (mut add, mut del) = (Values::default(), Values::default());
    chain::floor(&mut add, &mut del);
    table.row("the floor: the chain's plugins alone, ADD, ms", &add, None);
    table.row("the floor: the chain's plugins alone, DEL, ms", &del, None);
}
