//! The kubelet project's conformance suite against a socket.
//!
//! Owns: how it is run and how its report is read. Never: what may fail.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::{host, network::Network};

/// What became of one spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It did not apply, or the runtime does not have what it is about.
    Skipped,
    /// It failed, and why.
    Failed(String),
}

/// One run.
#[derive(Debug)]
pub struct Run {
    /// The specs by their names.
    pub specs: BTreeMap<String, Outcome>,
    /// How long it took as a whole.
    pub wall: Duration,
}

impl Run {
    /// How many passed.
    pub fn passed(&self) -> usize {
        self.specs.values().filter(|outcome| **outcome == Outcome::Passed).count()
    }

    /// How many were skipped.
    pub fn skipped(&self) -> usize {
        self.specs.values().filter(|outcome| **outcome == Outcome::Skipped).count()
    }
}

/// Runs the whole suite from inside a network. `None`: there is no critest here, the test is skipped.
/// TAFFRAIL_CRITEST_REPORT names a file that keeps the report.
pub fn run(network: Network, socket: &Path) -> Option<Run> {
    let Some(critest) = host::find("critest") else {
        host::skip("critest", "no critest here: .ci/tools builds it where Go is");
        return None;
    };
    let folder = tempfile::tempdir_in("/tmp").expect("/tmp can be written");
    let file = folder.path().join("report.xml");
    let socket = format!("unix://{}", socket.display());
    let begun = Instant::now();
    let mut command = Command::new(critest);
    command.args(["--runtime-endpoint", &socket, "--image-endpoint", &socket, "--ginkgo.no-color"]);
    command.arg(format!("--ginkgo.junit-report={}", file.display()));
    let output = network.output(&mut command);
    let wall = begun.elapsed();
    let text = fs::read_to_string(&file).unwrap_or_else(|e| {
        panic!("no report of critest ({e}): {}", String::from_utf8_lossy(&output.stdout));
    });
    if let Some(keep) = std::env::var_os("TAFFRAIL_CRITEST_REPORT") {
        fs::copy(&file, keep).expect("the report can be kept");
    }
    Some(Run { specs: report(&text), wall })
}

/// Reads the value of an attribute, with the entities of XML.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    let plain = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&#39;", "'"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#xA;", "\n"),
        ("&amp;", "&"),
    ];
    Some(plain.iter().fold(value.to_owned(), |text, (from, to)| text.replace(from, to)))
}

/// The specs of a JUnit report.
fn report(text: &str) -> BTreeMap<String, Outcome> {
    let mut all = BTreeMap::new();
    for case in text.split("<testcase").skip(1) {
        let case = case.split("</testcase>").next().unwrap_or_default();
        let (Some(name), Some(status)) = (attribute(case, "name"), attribute(case, "status")) else {
            continue;
        };
        // Nodes of the whole suite are no specs.
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

#[cfg(test)]
mod tests {
    use super::{Outcome, report};

    #[test]
    fn specs_are_read_and_the_suites_own_nodes_are_not() {
        let text = r#"<testsuite><testcase name="[BeforeSuite]" status="passed"></testcase>
            <testcase name="[It] a &lt;b&gt;" classname="x" status="passed" time="1"></testcase>
            <testcase name="[It] c" status="failed"><failure message="why &amp; how" type="failed"></failure></testcase>
            <testcase name="[It] d" status="skipped"><skipped message="skipped"></skipped></testcase></testsuite>"#;
        let specs = report(text);
        assert_eq!(specs.len(), 3);
        assert_eq!(specs["a <b>"], Outcome::Passed);
        assert_eq!(specs["c"], Outcome::Failed("why & how".into()));
        assert_eq!(specs["d"], Outcome::Skipped);
    }
}
