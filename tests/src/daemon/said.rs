//! What a daemon's log says of bugs of our own: panics, shims that died of themselves, and what can only be said where
//! something of ours is wrong. The keeper puts another shim in a dead one's place, so nobody else would notice.
//!
//! Never: judges what a test did on purpose, and says so.

/// How the daemon begins to tell of a shim's death.
const DEATH: &str = "a shim was killed";
/// How one ends that somebody killed.
const KILLED: &str = "how=\"signal 9\"";
/// How one ends that met an error.
const FAILED: &str = "how=\"exit code 1\"";
/// How one ended is not known where its keeper is not its parent, because an earlier keeper died.
const UNKNOWN: &str = "how=\"an unknown end\"";
const ANOTHER_KEEPER: [&str; 2] = ["the keeper is gone", "keeper that does not answer is killed"];
/// What only a bug makes the daemon say: a panic of whichever process, a task that died, nonsense from a shim.
const BUGS: [&str; 3] =
    [" panicked at ", "the recovery of a container failed", "a shim told a damaged exit record"];

/// How a shim may end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ShimEnds {
    /// By SIGKILL alone.
    #[default]
    Killed,
    /// Or because a step of it was made to fail.
    Failed,
    /// However a test likes.
    Any,
}

/// The lines that tell of a bug.
pub(super) fn bugs(log: &str, ends: ShimEnds) -> Vec<&str> {
    let has_other_keeper = ANOTHER_KEEPER.iter().any(|said| log.contains(said));
    let is_death_of_its_own = |line: &str| {
        let is_explained = line.contains(KILLED)
            || (has_other_keeper && line.contains(UNKNOWN))
            || (ends == ShimEnds::Failed && line.contains(FAILED))
            || ends == ShimEnds::Any;
        line.contains(DEATH) && !is_explained
    };
    log.lines()
        .filter(|line| BUGS.iter().any(|bug| line.contains(bug)) || is_death_of_its_own(line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{ShimEnds, bugs};

    #[test]
    fn a_death_that_nobody_caused_is_found() {
        let line = |how: &str| {
            format!("WARN a shim was killed; another one is in its place id=\"c\" how=\"{how}\" pid=7")
        };
        let count = |log: &str, ends| bugs(log, ends).len();
        assert_eq!(count(&line("signal 9"), ShimEnds::Killed), 0);
        for (how, when_failed) in [("signal 6", 1), ("signal 11", 1), ("exit code 1", 0), ("exit code 0", 1)]
        {
            assert_eq!(count(&line(how), ShimEnds::Killed), 1, "{how}");
            assert_eq!(count(&line(how), ShimEnds::Failed), when_failed, "{how}");
            assert_eq!(count(&line(how), ShimEnds::Any), 0, "{how}");
        }
        let unknown = line("an unknown end");
        assert_eq!(count(&unknown, ShimEnds::Killed), 1);
        let told = format!("WARN the keeper is gone; another one is started pid=1\n{unknown}");
        assert_eq!(count(&told, ShimEnds::Killed), 0);
        assert_eq!(count("thread 'x' panicked at a.rs", ShimEnds::Any), 1);
    }
}
