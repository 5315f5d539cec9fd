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
