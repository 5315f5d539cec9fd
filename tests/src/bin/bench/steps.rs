//! Where the milliseconds of a pod's start and end go: the daemon's own steps, from its log at level debug.
//!
//! Never: a step that the daemon does not name.

use tests::daemon::{Daemon, Options};

use crate::{
    latency::{Times, cycle},
    limits::PODS,
    median::Values,
    output::Table,
};

/// Steps in the order in which a pod's life comes by them, with their times in milliseconds.
pub(crate) fn measure(table: &mut Table) {
    let set = vec!["log_level=debug".to_owned()];
    let Some(daemon) = Daemon::start_with(Options { set, ..Options::default() }) else { return };
    let mut times = Times::default();
    let seen = daemon.log().len();
    for nr in 0..PODS {
        cycle(daemon.client(), &daemon.path("logs"), nr, false, &mut times);
    }
    let steps = of(daemon.log().get(seen..).unwrap_or_default());
    for (call, values) in [
        ("RunPodSandbox", &times.run),
        ("CreateContainer", &times.create),
        ("StartContainer", &times.start),
        ("StopPodSandbox", &times.stop),
        ("RemovePodSandbox", &times.remove),
    ] {
        table.row(&format!("{call}, built-in bridge, log level debug, ms"), values, None);
    }
    for (name, values) in &steps {
        table.row(&format!("step {name}, ms"), values, None);
    }
}

/// The steps whose ends a log tells, in the order in which they came first.
pub(crate) fn of(log: &str) -> Vec<(String, Values)> {
    let mut steps: Vec<(String, Values)> = Vec::new();
    for (name, millis) in log.lines().filter_map(ended) {
        if let Some((_, values)) = steps.iter_mut().find(|(known, _)| *known == name) {
            values.add(millis);
            continue;
        }
        let mut values = Values::default();
        values.add(millis);
        steps.push((name, values));
    }
    steps
}

/// The step of a line that tells a step's end, and how long it took in milliseconds.
fn ended(line: &str) -> Option<(String, f64)> {
    let (_, rest) = line.split_once("step ended name=\"")?;
    let (name, rest) = rest.split_once("\" micros=")?;
    let micros: f64 = rest.split_whitespace().next()?.parse().ok()?;
    Some((name.to_owned(), micros / 1000.0))
}
