//! CNI while the daemon dies, or what a pod stands on is gone: what was added is deleted, and nothing works on.
//!
//! Plugins under a daemon that lives are in `cni.rs`, which has the scripted one. Never: the host's CNI folders.

use std::{collections::BTreeSet, fs};

use tests::{
    ask,
    daemon::{Daemon, Options},
    eventually::eventually,
    failpoints::{self, Failpoints},
    limits::SOON,
};

use crate::cni::{Folder, put, scripted, stop};

#[test]
fn a_daemon_that_dies_while_a_plugin_works_undoes_it() {
    let folder = Folder::new();
    let Some(mut daemon) = folder.scripted() else { return };
    // The plugin has made something, and the daemon dies before it hears of it.
    let late = r#"echo $$ > $told/pid
tries=0
while [ ! -e $told/go ] && [ $tries -lt 300 ]; do sleep 0.1; tries=$((tries + 1)); done
echo "scripted LATE" >> $told/journal"#;
    folder.tell("ADD", Some(late));
    let config = ask::pod("p", &daemon.path("logs"));
    let client = daemon.client().clone();
    let asked = std::thread::spawn(move || client.run_pod_sandbox(ask::run(&config)).is_err());
    let adds = || folder.journal().iter().filter(|line| line.contains(" ADD ")).count();
    // Written in one go, before it waits.
    let pid = || fs::read_to_string(folder.path("told/pid")).ok().filter(|pid| pid.ends_with('\n'));
    let pid = eventually(SOON, "the ADD", || (adds() == 2).then(pid)?);
    daemon.kill9();
    assert!(asked.join().unwrap());
    folder.tell("ADD", None);
    daemon.launch();
    let journal = folder.journal();
    let id = journal
        .iter()
        .rev()
        .find(|line| line.contains(" ADD "))
        .and_then(|line| line.split(' ').nth(2))
        .unwrap();
    eventually(SOON, "its DEL", || (folder.asked("scripted", "DEL", id) >= 1).then_some(()));
    // It works no more: it went with the daemon that called it. Nobody may have reaped it yet.
    put(&folder.path("told/go"), "");
    let command_line = format!("/proc/{}/cmdline", pid.trim());
    eventually(SOON, "the plugin's end", || {
        fs::read(&command_line).unwrap_or_default().is_empty().then_some(())
    });
    assert!(!folder.journal().iter().any(|line| line.contains("LATE")), "{:?}", folder.journal());
}

#[test]
fn a_daemon_that_dies_around_a_plugin_leaves_nothing() {
    let Some(program) = failpoints::program() else { return };
    let points = Failpoints::default();
    let folder = Folder::new();
    folder.script("scripted");
    folder.configure("10-scripted.conflist", &scripted("scripted"));
    let options = Options { program: Some(program), environment: points.environment(), ..folder.options() };
    let Some(mut daemon) = Daemon::start_with(options) else { return };
    for (nr, step) in
        ["network.plan", "network.attach", "network.record", "network.detach", "network.detached"]
            .iter()
            .enumerate()
    {
        points.set(step, "kill");
        let config = ask::pod(&format!("p{nr}"), &daemon.path("logs"));
        if let Ok(answer) = daemon.client().run_pod_sandbox(ask::run(&config)) {
            let stopped = daemon.client().stop_pod_sandbox(ask::stop_pod(&answer.pod_sandbox_id));
            assert!(stopped.is_err(), "{step}: it dies there");
        }
        daemon.forget();
        points.clear(step);
        daemon.launch();
        // As a kubelet does: what is half-made is gone, what is stopped is removed, and the same pod is asked for again.
        daemon.remove_pods();
        daemon.client().run_pod_sandbox(ask::run(&config)).unwrap_or_else(|e| panic!("after {step}: {e}"));
        daemon.remove_pods();
        daemon.check_leaks();
    }
    // Whoever was added was deleted.
    let journal = folder.journal();
    let ids = |command: &str| -> BTreeSet<String> {
        let lines = journal.iter().filter(|line| line.contains(&format!(" {command} ")));
        lines.filter_map(|line| line.split(' ').nth(2).map(str::to_owned)).collect()
    };
    assert!(ids("ADD").is_subset(&ids("DEL")), "{journal:?}");
}

#[test]
fn a_pod_whose_namespace_is_gone_is_stopped_with_its_plugins() {
    let folder = Folder::new();
    let Some(daemon) = folder.scripted() else { return };
    let pod = daemon.run_pod("p");
    let pin = daemon.path("netns").join(format!("{}-{}", daemon.instance(), pod.id));
    nix::mount::umount2(&pin, nix::mount::MntFlags::MNT_DETACH).unwrap();
    fs::remove_file(&pin).unwrap();
    put(&pin, "no namespace");
    stop(&daemon, &pod).unwrap();
    let journal = folder.journal();
    let line = journal.iter().find(|line| line.starts_with(&format!("scripted DEL {}", pod.id))).unwrap();
    assert!(line.contains("netns= "), "nothing is done to what is no namespace: {line}");
}
