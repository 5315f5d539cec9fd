//! The score by which the kernel chooses whom to kill when memory runs out (proc(5), oom_score_adj).
//!
//! Never: writes to a process that is not in the container any more.

use std::{fs::OpenOptions, io, io::Write};

use crate::cgroups::Members;

/// Writes a score to every process of a container. A process that ends meanwhile: fine.
pub(super) fn write(members: &Members, score: i64) -> io::Result<()> {
    for pid in members.pids() {
        let file = OpenOptions::new().write(true).open(format!("/proc/{pid}/oom_score_adj"));
        let mut file = match file {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        // The open file is bound to the process; its number may have been given to another before the opening.
        if !members.pids().contains(&pid) {
            continue;
        }
        match file.write_all(score.to_string().as_bytes()) {
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => {}
            // A score lower than a process was born with needs CAP_SYS_RESOURCE; the host has none to give.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                tracing::info!(pid, score, "the host does not let oom_score_adj be lowered; it stays higher");
            }
            other => other?,
        }
    }
    Ok(())
}
