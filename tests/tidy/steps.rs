//! Rule 9: each named step of a procedure has a name of its own. The list is what the crash tests will walk through.
//!
//! Never: decides where a step is.

use std::{collections::BTreeMap, fs};

use crate::source::{all, none, workspace};

/// Where the names are listed, for people and for the crash tests.
const LIST: &str = "docs/steps.txt";

#[test]
fn each_step_has_a_name_of_its_own_and_is_listed() {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in all().iter().filter(|source| source.path.starts_with("daemon/src/") && !source.is_test()) {
        let code: String = source.code().map(|(_, line)| line.trim()).collect();
        for opening in ["step(\"", "reach(\""] {
            for (at, _) in code.match_indices(opening) {
                let name: String = code[at + opening.len()..].chars().take_while(|c| *c != '"').collect();
                found.entry(name).or_default().push(source.path.clone());
            }
        }
    }
    let twice: Vec<String> = found
        .iter()
        .filter(|(_, at)| at.len() > 1)
        .map(|(name, at)| format!("{name}: {}", at.join(", ")))
        .collect();
    none("the name of a step is unique", &twice);
    let path = workspace().join(LIST);
    let names: String = found.keys().map(|name| format!("{name}\n")).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        put(&path, &names);
    }
    let listed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(listed, names, "{LIST} differs; UPDATE_GOLDEN=1 rewrites it");
}

#[expect(clippy::disallowed_methods, reason = "a file of the repository; nobody reads half of it")]
fn put(path: &std::path::Path, text: &str) {
    fs::write(path, text).unwrap();
}
