//! Whether a pod costs the same among many as among few: its start, and the kubelet's list of all.
//!
//! Never: a pod that is not removed.

use cri_api::v1;
use tests::daemon::{Daemon, Options};

use crate::{
    latency::{Times, cycle, timed},
    limits::{FEW, LISTS, MANY, PODS},
    median::Values,
    output::{Table, note},
    steps,
};

/// One count of pods that are there.
#[derive(Debug, Default)]
struct Level {
    cycles: Times,
    list: Values,
    steps: Vec<(String, Values)>,
}

pub(crate) fn measure(table: &mut Table) {
    let set = vec!["log_level=debug".to_owned()];
    let Some(daemon) = Daemon::start_with(Options { set, ..Options::default() }) else { return };
    let (few, many) = (level(&daemon, 0, FEW), level(&daemon, FEW, MANY));
    let mut row = |what: &str, get: &dyn Fn(&Level) -> &Values| {
        table.row(&format!("{what} at {MANY} pods, ms"), get(&many), Some((&format!("at {FEW}"), get(&few))));
    };
    row("RunPodSandbox + CreateContainer + StartContainer, built-in bridge,", &|level| &level.cycles.sum);
    row("StopPodSandbox", &|level| &level.cycles.stop);
    row("ListContainers and ListPodSandbox", &|level| &level.list);
    let none = Values::default();
    for (name, values) in &many.steps {
        let before = few.steps.iter().find(|(known, _)| known == name).map_or(&none, |(_, values)| values);
        table.row(&format!("step {name} at {MANY} pods, ms"), values, Some((&format!("at {FEW}"), before)));
    }
}

/// Fills up to `upto` pods with a container each, then measures beside them.
fn level(daemon: &Daemon, from: usize, upto: usize) -> Level {
    note(&format!("{upto} pods"));
    for nr in from..upto {
        let pod = daemon.run_pod(&format!("there{nr}"));
        daemon.run(&pod, "c", &["sleep", "6000"]);
    }
    let mut level = Level::default();
    let seen = daemon.log().len();
    for nr in 0..PODS {
        cycle(daemon.client(), &daemon.path("logs"), nr, false, &mut level.cycles);
    }
    for _ in 0..LISTS {
        timed(&mut level.list, || {
            daemon.client().list_containers(v1::ListContainersRequest::default())?;
            daemon.client().list_pod_sandbox(v1::ListPodSandboxRequest::default())
        });
    }
    level.steps = steps::of(daemon.log().get(seen..).unwrap_or_default());
    level
}
