//! Rule 7: a trait is there because two implementations are.
//!
//! Never: counts what a macro makes.

use crate::source::{all, none};

/// Traits with one, and why.
const SINGLE: [(&str, &str); 2] = [
    ("Because", "adds a method to Result, which only a trait can"),
    ("Encode", "adds a method to every message, which only a trait can"),
];

#[test]
fn a_trait_has_two_implementations() {
    let sources = all();
    let mut offences = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        for (at, line) in source.code() {
            let Some(rest) = line.split_once("trait ").filter(|(before, _)| is_visibility(before)) else {
                continue;
            };
            let name: String = rest.1.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let count = sources.iter().map(|source| implementations(&source.text, &name)).sum::<usize>();
            if count < 2 && !SINGLE.iter().any(|(single, _)| *single == name) {
                offences.push(format!("{}:{at}: {name} has {count}", source.path));
            }
        }
    }
    none("a trait has two implementations, one may be the tests'", &offences);
}

fn is_visibility(before: &str) -> bool {
    let before = before.trim();
    before.is_empty() || before == "pub" || before.starts_with("pub(") && before.ends_with(')')
}

/// Lines that implement the trait: `impl<T> path::Name<X> for`.
fn implementations(text: &str, name: &str) -> usize {
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("impl")?.split_once(" for "));
    lines.filter(|(before, _)| last_name(before) == name).count()
}

/// The trait's name at the end of what stands before ` for `, without its own arguments.
fn last_name(before: &str) -> &str {
    let mut depth = 0;
    let mut end = before.len();
    for (at, c) in before.char_indices().rev() {
        match c {
            '>' => depth += 1,
            '<' => depth -= 1,
            _ => {}
        }
        if c == '<' && depth == 0 && before.ends_with('>') {
            end = at;
            break;
        }
    }
    before[..end].rsplit([' ', ':', '>']).next().unwrap_or_default()
}

#[test]
fn names_of_traits_are_found() {
    assert_eq!(last_name(" Snapshotter"), "Snapshotter");
    assert_eq!(last_name("<R: Read> super::Skip"), "Skip");
    assert_eq!(last_name("<T> Because<T>"), "Because");
}
