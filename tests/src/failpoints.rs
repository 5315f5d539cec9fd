//! Killing, failing and delaying the product's processes at their named steps: the folder that the build with
//! failpoints looks into, and the list of the points.
//!
//! Owns: the folder. Never: decides at which points.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::host;

/// Names of the variable and of the folder of counts, as in the product (`protocol::failpoint`).
const VARIABLE: &str = "TAFFRAIL_FAILPOINTS";
const HITS: &str = "hits";

/// A folder of settings.
#[derive(Debug)]
pub struct Failpoints {
    folder: TempDir,
}

/// One named step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Its name.
    pub name: String,
    /// Whether it has something to fail with.
    pub fails: bool,
}

/// The program with failpoints, or a skip.
pub fn program() -> Option<PathBuf> {
    let path = host::workspace().join("target/dist-failpoints/taffrail");
    if !path.is_file() {
        host::skip("failpoints", "no program with failpoints: make build FAILPOINTS=1");
        return None;
    }
    Some(path)
}

/// Whether a daemon of this environment looks for failpoints.
pub(crate) fn are_in(environment: &[(String, String)]) -> bool {
    environment.iter().any(|(name, _)| name == VARIABLE)
}

/// Every named step of every program, by `docs/steps.txt`, which a tidy test holds equal to the code.
pub fn points() -> Vec<Point> {
    let text =
        fs::read_to_string(host::workspace().join("docs/steps.txt")).expect("the list of steps is there");
    let point = |line: &str| {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        Point { name: name.to_owned(), fails: rest == "fail" }
    };
    text.lines().map(point).collect()
}

impl Default for Failpoints {
    fn default() -> Self {
        let folder = tempfile::Builder::new().prefix("tf.").tempdir().expect("/tmp can be written");
        fs::create_dir(folder.path().join(HITS)).expect("/tmp can be written");
        Self { folder }
    }
}

impl Failpoints {
    /// What the daemon's environment must have.
    pub fn environment(&self) -> Vec<(String, String)> {
        vec![(VARIABLE.to_owned(), self.folder.path().to_string_lossy().into_owned())]
    }

    /// From now on this happens at the step, as in `kill`, `fail@2`, `delay(200)`; its hits are counted anew.
    pub fn set(&self, step: &str, what: &str) {
        self.forget(step);
        // Whole or not at all: a process may read it at any time.
        let new = self.folder.path().join(".new");
        let written = fs::File::create(&new).and_then(|mut file| file.write_all(what.as_bytes()));
        written.and_then(|()| fs::rename(&new, self.folder.path().join(step))).expect("/tmp can be written");
    }

    /// Nothing happens at the step any more.
    pub fn clear(&self, step: &str) {
        fs::remove_file(self.folder.path().join(step)).ok();
    }

    /// Counts the hits of a step anew.
    pub fn forget(&self, step: &str) {
        fs::remove_file(self.counter(step)).ok();
    }

    /// How often the step was hit, by all processes together.
    pub fn hits(&self, step: &str) -> u64 {
        fs::metadata(self.counter(step)).map_or(0, |counter| counter.len())
    }

    fn counter(&self, step: &str) -> PathBuf {
        Path::new(self.folder.path()).join(HITS).join(step)
    }
}
