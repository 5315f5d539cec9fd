//! What is asked of systemd where it is process 1: scopes for processes that must not live in the daemon's own unit, and
//! the end of slices that are empty.
//!
//! By its own programs: `busctl` and `systemctl` are there wherever systemd is, and a bus client of one's own would be
//! paid for by every daemon without it. Owns: the words of both. Never: a cgroup by hand; a scope's members.

use std::{
    io::{self, Read},
    path::Path,
    process::{Command, Stdio},
};

use crate::{limits, sys::pidfd::PidFd};

/// Whether systemd is process 1 (sd_booted(3)).
pub fn is_there() -> bool {
    Path::new("/run/systemd/system").exists()
}

/// Moves a process into a new scope below a slice, and waits until it is there. The scope is delegated (members may be
/// added by hand, and one that runs out of memory does not end the others), has no bound on its tasks, and is gone with
/// its last process. Blocking.
pub fn start_scope(name: &str, slice: &str, pid: u32) -> io::Result<()> {
    let pid = pid.to_string();
    let asked = run(
        "busctl",
        &[
            "--timeout=10",
            "call",
            "org.freedesktop.systemd1",
            "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager",
            "StartTransientUnit",
            "ssa(sv)a(sa(sv))",
            name,
            "fail",
            "6",
            "Description",
            "s",
            "Processes of Taffrail that outlive its daemon",
            "Slice",
            "s",
            slice,
            "Delegate",
            "b",
            "true",
            "TasksMax",
            "t",
            &u64::MAX.to_string(),
            "CollectMode",
            "s",
            "inactive-or-failed",
            "PIDs",
            "au",
            "1",
            &pid,
            "0",
        ],
    );
    // It answers when the job is queued; starting what is starting joins that job and waits for its end.
    asked.and_then(|()| run("systemctl", &["start", name]))
}

/// Stops a slice that has nothing in it. Blocking.
pub fn stop_slice(name: &str) -> io::Result<()> {
    run("systemctl", &["stop", name])
}

/// Runs one of its programs to its end; what it says on stderr is the error.
fn run(program: &str, words: &[&str]) -> io::Result<()> {
    let failed = |why: String| io::Error::other(format!("{program}: {why}"));
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(format!("cannot be started: {e}")))?;
    let ends = PidFd::open(child.id().cast_signed())
        .and_then(|handle| handle.map_or(Ok(true), |handle| handle.ends_within(limits::SYSTEMD)));
    if !matches!(ends, Ok(true)) {
        child.kill()?;
        child.wait()?;
        return Err(failed(format!("it did not end within {:?}", limits::SYSTEMD)));
    }
    let mut said = String::new();
    if let Some(errors) = child.stderr.take() {
        // It has ended: what there is is in the pipe.
        errors.take(limits::SYSTEMD_WORDS).read_to_string(&mut said)?;
    }
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(failed(format!("{status}: {}", said.trim()))) }
}
