//! The kubelet project's conformance suite. What does not pass yet stands in `tests/it/critest.txt` with its reason,
//! and that file may only shrink.
//!
//! Never: a focus; what is known to be missing is run too.

use std::{collections::BTreeMap, fs, process::Command, time::Instant};

use tests::{
    conformance::{Parts, registries_conf},
    daemon::{Daemon, Options},
    host,
    registry::{self, Registry},
};

/// Specs that do not pass, each with its reason.
const LIST: &str = "tests/it/critest.txt";

/// What became of one spec.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Passed,
    Skipped,
    Failed(String),
}

/// The listed specs: `name | reason`, one a line.
fn listed() -> BTreeMap<String, String> {
    let text = fs::read_to_string(host::workspace().join(LIST)).expect("the list is there");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (name, reason) =
                line.rsplit_once(" | ").unwrap_or_else(|| panic!("{LIST}: no reason: {line}"));
            (name.to_owned(), reason.to_owned())
        })
        .collect()
}

/// Reads the value of an attribute, with the five entities of XML.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    let plain =
        [("&lt;", "<"), ("&gt;", ">"), ("&#39;", "'"), ("&quot;", "\""), ("&#34;", "\""), ("&amp;", "&")];
    Some(plain.iter().fold(value.to_owned(), |text, (from, to)| text.replace(from, to)))
}

/// The specs of a JUnit report by their names.
fn report(text: &str) -> BTreeMap<String, Outcome> {
    let mut all = BTreeMap::new();
    for case in text.split("<testcase").skip(1) {
        let case = case.split("</testcase>").next().unwrap_or_default();
        let (Some(name), Some(status)) = (attribute(case, "name"), attribute(case, "status")) else {
            continue;
        };
        // Suite-wide nodes are no specs.
        let Some(name) = name.strip_prefix("[It] ") else { continue };
        let outcome = match status.as_str() {
            "passed" => Outcome::Passed,
            "skipped" | "pending" => Outcome::Skipped,
            _ => Outcome::Failed(attribute(case, "message").unwrap_or(status)),
        };
        all.insert(name.to_owned(), outcome);
    }
    all
}

#[test]
fn the_conformance_suite_passes_but_for_what_is_listed() {
    let Some(critest) = host::find("critest") else {
        return host::skip("critest", "no critest here: .ci/tools builds it where Go is");
    };
    let Some(parts) = Parts::find() else { return };
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let conf = folder.path().join("registries.conf");
    write(&conf, "");
    let options = Options { set: vec![format!("registries_conf={}", conf.display())], ..Options::default() };
    let Some(mut daemon) = Daemon::start_with(options) else { return };
    let Some(registry) = Registry::start(daemon.network(), &registry::Options::default()) else {
        return;
    };
    parts.push(&registry, folder.path()).unwrap();
    write(&conf, &registries_conf(&registry));
    daemon.restart();
    let file = folder.path().join("report.xml");
    let socket = format!("unix://{}", daemon.socket().display());
    let begun = Instant::now();
    let mut command = Command::new(critest);
    command.args(["--runtime-endpoint", &socket, "--image-endpoint", &socket, "--ginkgo.no-color"]);
    command.arg(format!("--ginkgo.junit-report={}", file.display()));
    let output = daemon.network().output(&mut command);
    let wall = begun.elapsed();
    let text = fs::read_to_string(&file).unwrap_or_else(|e| {
        panic!("no report ({e}): {}", String::from_utf8_lossy(&output.stdout));
    });
    if let Some(keep) = std::env::var_os("TAFFRAIL_CRITEST_REPORT") {
        fs::copy(&file, keep).unwrap();
    }
    let specs = report(&text);
    let count = |wanted: fn(&Outcome) -> bool| specs.values().filter(|outcome| wanted(outcome)).count();
    let passed = count(|outcome| *outcome == Outcome::Passed);
    let skipped = count(|outcome| *outcome == Outcome::Skipped);
    host::figure(&format!(
        "critest: {} specs, {passed} passed, {skipped} skipped, in {:.0} s",
        specs.len(),
        wall.as_secs_f64()
    ));
    let known = listed();
    let mut wrong = Vec::new();
    for (name, outcome) in &specs {
        match (outcome, known.contains_key(name)) {
            (Outcome::Passed, true) => wrong.push(format!("passes now, take it out of {LIST}: {name}")),
            (Outcome::Skipped, false) => wrong.push(format!("skipped: {name}")),
            (Outcome::Failed(why), false) => wrong.push(format!("failed: {name}: {why}")),
            _ => {}
        }
    }
    let unknown = known.keys().filter(|name| !specs.contains_key(*name));
    wrong.extend(unknown.map(|name| format!("{LIST} names no spec: {name}")));
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), daemon.log_tail());
    for image in daemon.client().list_images(Default::default()).unwrap().images {
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
