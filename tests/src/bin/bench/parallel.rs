//! Ten callers at once: pods a second, execs a second. And the runtime's own exec, which no runtime of ours can beat
//! while it is what execs.
//!
//! Never: more callers than a busy kubelet has workers.

use std::{path::Path, process::Command, thread, time::Instant};

use tests::{ask, client::CriClient, daemon::Daemon, host};

use crate::{
    containerd::Containerd,
    latency,
    limits::{CALLERS, EXECS, PARALLEL_EXECS, PARALLEL_PODS, ROUNDS},
    median::Values,
    output::Table,
};

/// A pod with a running container; their ids.
fn start(client: &CriClient, logs: &Path, nr: usize) -> (String, String) {
    let config = latency::pod(&format!("many{nr}"), logs, true);
    let pod = client.run_pod_sandbox(ask::run(&config)).expect("a pod").pod_sandbox_id;
    let wish = latency::container(&config, &["sleep", "600"]);
    let id = client.create_container(ask::create(&pod, &wish, &config)).expect("a container").container_id;
    client.start_container(ask::start(&id)).expect("a start");
    (pod, id)
}

fn end(client: &CriClient, pod: &str) {
    client.stop_pod_sandbox(ask::stop_pod(pod)).expect("a stop");
    client.remove_pod_sandbox(ask::remove_pod(pod)).expect("a removal");
}

/// So much work by all callers; how much of it a second.
fn rate(count: usize, work: impl Fn(usize) + Sync) -> f64 {
    let begin = Instant::now();
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let work = &work;
            scope.spawn(move || (caller..count).step_by(CALLERS).for_each(work));
        }
    });
    f64::from(u32::try_from(count).unwrap_or_default()) / begin.elapsed().as_secs_f64()
}

fn pods(client: &CriClient, logs: &Path, started: &mut Values, removed: &mut Values) {
    let made = std::sync::Mutex::new(Vec::new());
    started.add(rate(PARALLEL_PODS, |nr| {
        let (pod, _) = start(client, logs, nr);
        made.lock().expect("nobody panics here").push(pod);
    }));
    let made = made.into_inner().expect("nobody panics here");
    removed.add(rate(PARALLEL_PODS, |nr| end(client, &made[nr])));
}

fn execs(client: &CriClient, logs: &Path, values: &mut Values) {
    let (pod, id) = start(client, logs, 0);
    values.add(rate(PARALLEL_EXECS, |_| {
        client.exec_sync(ask::exec(&id, &["/demo", "true"], 60)).expect("an exec");
    }));
    end(client, &pod);
}

/// runc's exec by itself, in one of our containers, in milliseconds.
fn runtime_exec(daemon: &Daemon, values: &mut Values) {
    let Some(runc) = host::find("runc") else { return };
    let (pod, id) = start(daemon.client(), &daemon.path("logs"), 0);
    for _ in 0..EXECS * ROUNDS {
        let begin = Instant::now();
        let mut command = Command::new(&runc);
        command.arg("--root").arg(daemon.path("state/runtimes/runc")).args(["exec", &id, "/demo", "true"]);
        let done = command.output().expect("runc can be run");
        assert!(done.status.success(), "runc exec: {}", String::from_utf8_lossy(&done.stderr));
        values.add(begin.elapsed().as_secs_f64() * 1000.0);
    }
    end(daemon.client(), &pod);
}

pub(crate) fn measure(daemon: &Daemon, peer: Option<&Containerd>, table: &mut Table) {
    let (mut mine, mut theirs): ([Values; 3], [Values; 3]) = Default::default();
    for _ in 0..ROUNDS {
        let [started, removed, exec] = &mut mine;
        pods(daemon.client(), &daemon.path("logs"), started, removed);
        execs(daemon.client(), &daemon.path("logs"), exec);
        if let Some(peer) = peer {
            let [started, removed, exec] = &mut theirs;
            pods(&peer.client, &peer.logs(), started, removed);
            execs(&peer.client, &peer.logs(), exec);
        }
    }
    let what = ["pods started a second", "pods stopped and removed a second", "ExecSync of `true` a second"];
    for (at, what) in what.into_iter().enumerate() {
        table.row(
            &format!("{what}, {CALLERS} callers"),
            &mine[at],
            peer.map(|_| ("containerd", &theirs[at])),
        );
    }
    let mut alone = Values::default();
    runtime_exec(daemon, &mut alone);
    table.row("the floor: runc's own exec, ms", &alone, None);
}
