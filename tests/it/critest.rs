//! The kubelet project's conformance suite. What does not pass yet stands in `tests/it/critest.txt` with its reason,
//! and that file may only shrink.
//!
//! Never: a focus; what is known to be missing is run too.

use std::{collections::BTreeMap, fs};

use tests::{
    conformance::{Node, Parts},
    critest::{self, Outcome},
    host,
};

/// Specs that do not pass, each with its reason.
const LIST: &str = "tests/it/critest.txt";

/// The listed specs: `name | reason`, one a line.
fn listed() -> BTreeMap<String, String> {
    let text = fs::read_to_string(host::workspace().join(LIST)).expect("the list is there");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let split = |line: &str| {
        let (name, reason) = line.rsplit_once(" | ").unwrap_or_else(|| panic!("{LIST}: no reason: {line}"));
        (name.to_owned(), reason.to_owned())
    };
    lines.map(split).collect()
}

#[test]
fn the_conformance_suite_passes_but_for_what_is_listed() {
    let Some(parts) = Parts::find() else { return };
    let Some(node) = Node::start(&parts) else { return };
    let daemon = &node.daemon;
    let Some(run) = critest::run(daemon.network(), &daemon.socket()) else { return };
    host::figure(&format!(
        "critest: {} specs, {} passed, {} skipped, in {:.0} s",
        run.specs.len(),
        run.passed(),
        run.skipped(),
        run.wall.as_secs_f64()
    ));
    let known = listed();
    let mut wrong = Vec::new();
    for (name, outcome) in &run.specs {
        match (outcome, known.contains_key(name)) {
            (Outcome::Passed, true) => wrong.push(format!("passes now, take it out of {LIST}: {name}")),
            (Outcome::Skipped, false) => wrong.push(format!("skipped: {name}")),
            (Outcome::Failed(why), false) => wrong.push(format!("failed: {name}: {why}")),
            (Outcome::Passed, false) | (Outcome::Skipped | Outcome::Failed(_), true) => {}
        }
    }
    let unknown = known.keys().filter(|name| !run.specs.contains_key(*name));
    wrong.extend(unknown.map(|name| format!("{LIST} names no spec: {name}")));
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), daemon.log_tail());
    node.remove_images();
}
