//! `docs/PROGRESS.md` tells nothing that cannot be checked: a line is *not yet*, or carries a command and what it
//! showed.
//!
//! Never: runs the command.

use std::fs;

use crate::source::{none, workspace};

#[test]
fn each_line_of_the_progress_is_not_yet_or_carries_a_command() {
    let text = fs::read_to_string(workspace().join("docs/PROGRESS.md")).unwrap();
    let heading = |line: &str| line.contains("| ---") || line.contains("| it must show |");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ") && !heading(line)).collect();
    assert!(rows.len() >= 7, "the seven lines of the first issue are there");
    let told = |row: &&&str| !row.contains("*not yet*") && row.matches('`').count() < 2;
    let offences: Vec<String> = rows.iter().filter(told).map(|row| (*row).to_owned()).collect();
    none("`*not yet*`, or a command in backquotes and the figure last seen", &offences);
}

#[test]
fn each_command_for_a_test_can_be_run() {
    let mut offences = Vec::new();
    for name in ["README.md", "CONTRIBUTING.md", "docs/PROGRESS.md", "docs/PROMISES.md", "docs/TESTING.md"] {
        let text = fs::read_to_string(workspace().join(name)).unwrap();
        let commands = text.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("cargo test "));
        for (_, words) in commands {
            // Cargo takes one filter; more go behind `--`.
            let words = words.split_ascii_whitespace().take_while(|&word| word != "--");
            let (mut filters, mut takes_value) = (0, false);
            for word in words {
                let is_flag = word.starts_with('-');
                filters += usize::from(!is_flag && !takes_value);
                takes_value = matches!(word, "-p" | "--test" | "--bin");
            }
            if filters > 1 {
                offences.push(format!("{name}: cargo test with {filters} filters before `--`"));
            }
        }
    }
    none("a command in a document can be run as it stands", &offences);
}
