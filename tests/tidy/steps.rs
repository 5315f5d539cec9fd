//! Rule 9: each named step of a procedure has a name of its own. The list is what the crash tests will walk through.
//!
//! Never: decides where a step is.

use std::{collections::BTreeMap, fs};

use crate::source::{all, none, workspace};

/// Where the names are listed, for people and for the crash tests; `fail` stands behind those that can fail.
const LIST: &str = "docs/steps.txt";

/// How a step is named in the code, and whether it can fail there.
const OPENINGS: [(&str, bool); 6] = [
    ("step(\"", false),
    ("reach(\"", false),
    ("attempt(\"", true),
    ("steps::check(\"", true),
    // It is an attempt, below.
    ("foreign_folder(\"", true),
    // An effect of the shim's machine has its name in a table.
    ("=>\"supervise.", false),
];

/// How an error names the step it was in.
const TOLD: [&str; 3] =
    ["still_in(\"", "ContainerError::step(&facts.id, \"", "SandboxError::step(&facts.id, \""];

/// What is no step: the check of an id that was read.
const NO_STEP: &str = "id";

#[test]
fn each_step_has_a_name_of_its_own_and_is_listed() {
    let mut found: BTreeMap<String, Vec<(String, bool)>> = BTreeMap::new();
    let programs = ["daemon/src/", "shim/src/"];
    let is_ours = |path: &str| programs.iter().any(|program| path.starts_with(program));
    for source in all().iter().filter(|source| is_ours(&source.path) && !source.is_test()) {
        let code: String = source.code().map(|(_, line)| line.trim()).collect();
        let code = code.replace("=> \"", "=>\"");
        for (opening, fails) in OPENINGS {
            for (at, _) in code.match_indices(opening) {
                // From the quotation mark on: a part of the name may belong to the opening.
                let quoted = &code[at + opening.find('"').unwrap() + 1..];
                let name: String = quoted.chars().take_while(|c| *c != '"').collect();
                found.entry(name).or_default().push((source.path.clone(), fails));
            }
        }
    }
    let twice: Vec<String> =
        found.iter().filter(|(_, at)| at.len() > 1).map(|(name, at)| format!("{name}: {at:?}")).collect();
    none("the name of a step is unique", &twice);
    let path = workspace().join(LIST);
    let line = |(name, at): (&String, &Vec<(String, bool)>)| {
        format!("{name}{}\n", if at.iter().any(|(_, fails)| *fails) { " fail" } else { "" })
    };
    let names: String = found.iter().map(line).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        put(&path, &names);
    }
    let listed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(listed, names, "{LIST} differs; UPDATE_GOLDEN=1 rewrites it");
}

/// Whoever enters a step must be killable there: by `step` and `attempt` only. And what is said of a step that was left
/// names one.
#[test]
fn people_are_told_of_no_step_that_is_not_listed() {
    let listed = fs::read_to_string(workspace().join(LIST)).unwrap_or_default();
    let is_listed = |name: &str| listed.lines().any(|line| line.split(' ').next() == Some(name));
    let mut wrong = Vec::new();
    for source in all().iter().filter(|source| source.path.starts_with("daemon/src/") && !source.is_test()) {
        for (number, line) in source.code() {
            let at = format!("{}:{number}: {}", source.path, line.trim());
            let enters = line.contains("operations::enter(") && source.path != "daemon/src/steps.rs";
            let told = TOLD.iter().find_map(|opening| line.split(opening).nth(1)?.split('"').next());
            if enters || told.is_some_and(|name| name != NO_STEP && !is_listed(name)) {
                wrong.push(at);
            }
        }
    }
    none("a step is entered by `steps::step` or `steps::attempt`, and is listed", &wrong);
}

#[expect(clippy::disallowed_methods, reason = "a file of the repository; nobody reads half of it")]
fn put(path: &std::path::Path, text: &str) {
    fs::write(path, text).unwrap();
}
