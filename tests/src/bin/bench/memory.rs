//! What fifty idle containers cost: memory, threads and wake-ups of their supervisors, memory of the daemon, and how
//! long it takes to serve again after a kill.
//!
//! Never: all three at once; they would share pages of runc and of the kernel.

use std::{fs, path::Path, time::Instant};

use tests::{ask, client::CriClient, daemon::Daemon, eventually::within};

use crate::{
    conmon::Conmon,
    containerd::Containerd,
    latency,
    limits::{CONTAINERS, QUIET, SETTLE},
    median::Values,
    output::{Table, note},
};

/// What a set of supervisors costs, each on its own.
#[derive(Debug, Default)]
struct Cost {
    pss: Values,
    private: Values,
    threads: Values,
    wakeups: Values,
    daemon_pss: Values,
    restart: Values,
}

/// Which of the values.
type Pick = fn(&Cost) -> &Values;

fn field(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn read(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

/// Times that any thread of a process has been put on the processor.
fn switches(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(Result::ok);
    let texts = threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    texts
        .map(|text| field(&text, "voluntary_ctxt_switches:") + field(&text, "nonvoluntary_ctxt_switches:"))
        .sum()
}

fn weigh(pids: &[u32], cost: &mut Cost) {
    // Nothing can happen in this window that would be waited for: it only lets starts settle.
    within(SETTLE, || None::<()>);
    let before: Vec<f64> = pids.iter().map(|&pid| switches(pid)).collect();
    within(QUIET, || None::<()>);
    for (&pid, before) in pids.iter().zip(before) {
        cost.wakeups.add(switches(pid) - before);
        let memory = read(pid, "smaps_rollup");
        cost.pss.add(field(&memory, "Pss:"));
        cost.private.add(field(&memory, "Private_Clean:") + field(&memory, "Private_Dirty:"));
        cost.threads.add(field(&read(pid, "status"), "Threads:"));
    }
}

fn daemon_pss(pid: u32) -> f64 {
    field(&read(pid, "smaps_rollup"), "Pss:") / 1024.0
}

fn start_pods(client: &CriClient, logs: &Path) {
    for nr in 0..CONTAINERS {
        let config = latency::pod(&format!("idle{nr}"), logs, true);
        let pod = client.run_pod_sandbox(ask::run(&config)).expect("a pod").pod_sandbox_id;
        let wish = latency::container(&config, &["sleep", "36000"]);
        let id =
            client.create_container(ask::create(&pod, &wish, &config)).expect("a container").container_id;
        client.start_container(ask::start(&id)).expect("a start");
    }
}

fn ours(daemon: &mut Daemon) -> Cost {
    let mut cost = Cost::default();
    start_pods(daemon.client(), &daemon.path("logs"));
    let shims = daemon.client().shims().expect("a status").containers;
    let pids: Vec<u32> = shims.iter().map(|shim| shim.shim_pid).collect();
    weigh(&pids, &mut cost);
    cost.daemon_pss.add(daemon_pss(daemon.pid()));
    daemon.kill9();
    let begin = Instant::now();
    daemon.launch();
    cost.restart.add(begin.elapsed().as_secs_f64());
    daemon.remove_pods();
    cost
}

fn containerds(mut peer: Containerd) -> Cost {
    let mut cost = Cost::default();
    start_pods(&peer.client, &peer.logs());
    weigh(&peer.shims(), &mut cost);
    cost.daemon_pss.add(daemon_pss(peer.pid()));
    cost.restart.add(peer.restart());
    cost
}

fn conmons(peer: &Conmon) -> Cost {
    let mut cost = Cost::default();
    let logs = tempfile::tempdir().expect("a folder");
    let args = ["sleep", "36000"];
    let runs: Vec<_> = (0..CONTAINERS).map(|nr| peer.run(&args, &logs.path().join(nr.to_string()))).collect();
    let pids: Vec<u32> = runs.iter().map(|run| run.pid).collect();
    weigh(&pids, &mut cost);
    cost
}

pub(crate) fn measure(
    daemon: &mut Daemon,
    containerd: Option<Containerd>,
    conmon: Option<&Conmon>,
    table: &mut Table,
) {
    let mine = ours(daemon);
    note("memory: containerd's");
    let theirs = containerd.map(containerds);
    note("memory: conmon's");
    let conmons = conmon.map(conmons);
    let rows: [(&str, Pick); 4] = [
        ("PSS KiB", |cost| &cost.pss),
        ("private KiB", |cost| &cost.private),
        ("threads", |cost| &cost.threads),
        ("wake-ups in 10 s", |cost| &cost.wakeups),
    ];
    for (what, get) in rows {
        let what = format!("supervisor, each of {CONTAINERS}, idle: {what}");
        for (name, cost) in [("conmon", conmons.as_ref()), ("containerd", theirs.as_ref())] {
            if let Some(cost) = cost {
                table.row(&what, get(&mine), Some((name, get(cost))));
            }
        }
    }
    let peer = |get: Pick| theirs.as_ref().map(|cost| ("containerd", get(cost)));
    table.row(
        &format!("daemon at {CONTAINERS} containers, PSS MiB"),
        &mine.daemon_pss,
        peer(|cost| &cost.daemon_pss),
    );
    table.row(
        &format!("kill -9 with {CONTAINERS} containers to serving, s"),
        &mine.restart,
        peer(|cost| &cost.restart),
    );
}
