//! What a test may do to a process at a named step: kill, fail or delay it. In builds with the feature `failpoints`
//! only; a release has nothing of it.
//!
//! The variable [`FOLDER`] names a folder. Its file `STEP` holds what is to happen there, as in
//! `kill`, `fail`, `delay(200)` (milliseconds), each at every hit or, as in `kill@3`, at one hit only. It may be
//! written and removed while the processes run: it is read at each hit. Hits are counted in `hits/STEP`, a byte each,
//! over all processes, so that the third hit of a node happens to exactly one of them.
//!
//! Owns: the grammar and the counting. Never: kills or waits; whoever asks does. The one module here that opens files.

use std::{
    env, fs,
    io::{Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
};

/// Name of the variable that names the folder. Absent: nothing ever happens, nothing is counted.
pub const FOLDER: &str = "TAFFRAIL_FAILPOINTS";

/// Where the hits are counted, below the folder.
pub const HITS: &str = "hits";

/// What is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The process ends as by SIGKILL.
    Kill,
    /// The step fails, where it can.
    Fail,
    /// The step begins later.
    Delay(Duration),
}

/// Counts a hit of this step, and says what is to happen.
pub fn hit(step: &str) -> Option<Action> {
    let folder = PathBuf::from(env::var_os(FOLDER)?);
    // A folder that is gone ends the test's interest.
    let number = count(&folder.join(HITS).join(step)).ok()?;
    parse(&fs::read_to_string(folder.join(step)).ok()?, number)
}

/// What a setting asks of the hit of this number, counted from 1.
pub fn parse(setting: &str, number: u64) -> Option<Action> {
    let (what, at) = match setting.trim().split_once('@') {
        Some((what, at)) => (what, Some(at.parse::<u64>().ok()?)),
        None => (setting.trim(), None),
    };
    if at.is_some_and(|at| at != number) {
        return None;
    }
    match what {
        "kill" => Some(Action::Kill),
        "fail" => Some(Action::Fail),
        _ => {
            let ms = what.strip_prefix("delay(")?.strip_suffix(')')?.parse().ok()?;
            Some(Action::Delay(Duration::from_millis(ms)))
        }
    }
}

/// The kernel appends and moves our position as one: what it is afterwards is our hit's number.
fn count(file: &Path) -> std::io::Result<u64> {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(file)?;
    file.write_all(b".")?;
    file.stream_position()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Action, count, parse};

    #[test]
    fn settings_are_read() {
        assert_eq!(parse("kill", 7), Some(Action::Kill));
        assert_eq!(parse("fail\n", 1), Some(Action::Fail));
        assert_eq!(parse("delay(20)", 1), Some(Action::Delay(Duration::from_millis(20))));
        assert_eq!(parse("kill@3", 3), Some(Action::Kill));
        for (setting, number) in
            [("kill@3", 2), ("kill@3", 4), ("kill@", 1), ("delay(x)", 1), ("", 1), ("no", 1)]
        {
            assert_eq!(parse(setting, number), None, "{setting}");
        }
    }

    #[test]
    fn hits_are_counted_over_all_processes() {
        let file = std::env::temp_dir().join(format!("taffrail-hits-{}", std::process::id()));
        assert_eq!([count(&file).unwrap(), count(&file).unwrap()], [1, 2]);
        std::fs::remove_file(file).unwrap();
    }
}
