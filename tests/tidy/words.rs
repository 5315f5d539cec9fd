//! Rules 5, 6 and 8: words that may stand in some places only.
//!
//! Never: a word that the compiler or clippy refuses already.

use crate::source::{Source, all, none};

/// Where tests let time pass, and why.
const SLEEPS: [(&str, &str); 5] = [
    ("tests/src/eventually.rs", "the one place for it"),
    ("tests/src/kubelet_model/clock.rs", "a kubelet's loops have a pace"),
    ("tests/it/shim_idle.rs", "a window in which nothing may happen"),
    ("tests/it/shim_runc.rs", "between two looks, with a deadline"),
    ("tests/it/shim_under_test.rs", "between two looks, with a deadline"),
];

/// Whether `word` stands in the line as a word of its own, or the beginning of one where it ends in `:` or `_`.
fn has(line: &str, word: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(inner) && (word.ends_with(':') || !after.is_some_and(inner))
    })
}

/// `libc::` with a function or a type behind it; constants (`libc::SIGTERM`) hurt nobody.
fn calls_libc(line: &str) -> bool {
    line.match_indices("libc::")
        .any(|(at, word)| line[at + word.len()..].starts_with(|c: char| c.is_lowercase()))
}

fn lines(source: &Source, bad: impl Fn(&str) -> bool) -> Vec<String> {
    let found = source.code().filter(|(_, line)| bad(line));
    found.map(|(at, line)| format!("{}:{at}: {}", source.path, line.trim())).collect()
}

#[test]
fn unsafe_code_and_raw_descriptors_stay_in_sys() {
    let raw = |line: &str| {
        has(line, "unsafe") && !line.contains("unsafe_")
            || has(line, "RawFd")
            || has(line, "from_raw_fd")
            || calls_libc(line)
    };
    let outside = all().into_iter().filter(|source| !source.path.contains("/sys/") && !is_own_rule(source));
    let offences: Vec<String> = outside.flat_map(|source| lines(&source, raw)).collect();
    none("unsafe code, libc's functions and raw descriptors only under sys/", &offences);
}

#[test]
fn tests_wait_for_events_and_are_all_run() {
    let bad = |line: &str| {
        line.contains("#[ignore") || line.contains("#[should_panic") || line.contains("thread::sleep(")
    };
    let sleeps = |line: &str| bad(line) || line.contains("time::sleep(");
    let tests = all().into_iter().filter(|source| source.is_test() && !is_own_rule(source));
    let offences: Vec<String> = tests
        .filter(|source| !SLEEPS.iter().any(|(path, _)| source.path == *path))
        .flat_map(|source| lines(&source, sleeps))
        .collect();
    none("no ignored test, no should_panic, no sleep: wait for the event with a deadline", &offences);
}

#[test]
fn a_todo_names_an_issue_and_a_fixme_is_not_merged() {
    let mut offences = Vec::new();
    for source in all().into_iter().filter(|source| !is_own_rule(source)) {
        for (at, line) in source.text.lines().enumerate() {
            let todo = has(line, "TODO") && !line.contains("TODO(#");
            if todo || has(line, "FIXME") || has(line, "XXX") {
                offences.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    none("`TODO(#12): ...`, and no FIXME", &offences);
}

fn is_own_rule(source: &Source) -> bool {
    source.path == "tests/tidy/words.rs"
}

#[test]
fn the_search_finds_words_and_not_parts_of_them() {
    assert!(has("let fd: RawFd = 1;", "RawFd") && !has("use std::os::fd::AsRawFd;", "RawFd"));
    assert!(calls_libc("libc::fork()") && !calls_libc("nix::libc::SIGSTOP"));
}
