//! The kubelet project's conformance suite. What does not pass yet stands in `tests/it/critest.txt` with its reason,
//! and that file may only shrink.
//!
//! Never: a focus; what is known to be missing is run too.

use std::{collections::BTreeMap, fs};

use tests::{
    conformance::{Parts, registries_conf},
    critest::{self, Outcome},
    daemon::{Daemon, Options},
    host,
    registry::{self, Registry},
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
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let conf = folder.path().join("registries.conf");
    write(&conf, "");
    let options = Options { set: vec![format!("registries_conf={}", conf.display())], ..Options::default() };
    let Some(mut daemon) = Daemon::start_with(options) else { return };
    let Some(registry) = Registry::start(daemon.network(), &registry::Options::default()) else { return };
    parts.push(&registry, folder.path()).unwrap();
    write(&conf, &registries_conf(&registry));
    daemon.restart();
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
    // What the suite pulled and left is its own.
    for image in daemon.client().list_images(cri_api::v1::ListImagesRequest::default()).unwrap().images {
        if !image.repo_tags.iter().any(|tag| tag.contains("taffrail.test")) {
            let spec = tests::ask::image(&image.id);
            daemon.client().remove_image(cri_api::v1::RemoveImageRequest { image: spec }).unwrap();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
fn write(path: &std::path::Path, text: &str) {
    fs::write(path, text).unwrap();
}
