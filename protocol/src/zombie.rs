//! What /proc says of a process that has ended and waits to be reaped: two texts, read.
//!
//! Owns: their forms. Never: opens them; decides whether they may be believed.

/// The wait status (wait(2)) in the text of `/proc/PID/stat`, of a process that has ended. `None`: it runs, or this is no
/// such text.
///
/// Field 52, `exit_code` (`proc_pid_stat(5)`, Linux 3.5). The kernel writes 0 for a reader that may not trace the process:
/// whoever calls must know that it may.
pub fn wait_status(stat: &str) -> Option<i32> {
    // The second field is a name in parentheses, which may hold both spaces and parentheses.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let status = fields.nth(EXIT_CODE - STATE - 1)?;
    (state == "Z").then(|| status.parse().ok()).flatten()
}

/// Numbers of the fields, as the manual counts them.
const STATE: usize = 3;
const EXIT_CODE: usize = 52;

/// The process that a pidfd names, in the text of `/proc/self/fdinfo/FD`. `None`: it has been reaped, or is not to be
/// seen from here.
pub fn pid(fdinfo: &str) -> Option<i32> {
    let line = fdinfo.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    line.trim().parse().ok().filter(|&pid| pid > 0)
}

#[cfg(test)]
mod tests {
    use super::{pid, wait_status};

    const STAT: &str = "25438 (a) Z (b) Z 25366 25362 30706 0 -1 4227148 232 0 0 0 0 0 0 0 20 0 1 0 2429323 0 0 \
                        18446744073709551615 0 0 0 0 0 0 0 16781312 2 1 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 2816\n";

    #[test]
    fn the_status_of_a_zombie_is_read_whatever_its_name() {
        assert_eq!(wait_status(STAT), Some(11 << 8));
        assert_eq!(wait_status(&STAT.replace(" 2816", " 9")), Some(9));
    }

    #[test]
    fn one_that_runs_or_is_no_such_text_says_nothing() {
        assert_eq!(wait_status(&STAT.replace(") Z 2", ") S 2")), None);
        assert_eq!(wait_status("25438 (a) Z 1 2 3"), None);
        assert_eq!(wait_status(""), None);
    }

    #[test]
    fn a_reaped_process_has_no_number() {
        assert_eq!(pid("pos:\t0\nflags:\t02\nPid:\t77\nNSpid:\t77\n"), Some(77));
        assert_eq!(pid("Pid:\t-1\n"), None);
        assert_eq!(pid("Pid:\t0\n"), None);
        assert_eq!(pid("pos:\t0\n"), None);
    }
}
