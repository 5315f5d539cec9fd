//! What is left of a shim: does it answer, does it hold its lock, is there an exit record?
//!
//! Lost is not unknown: only a free lock without a record means that nobody saw the end. Owns: this question,
//! and sending away a shim that does not answer. Never: kills a container.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use protocol::{
    exit_record::ExitRecord, limits::RECORD_MAX, rundir::RunDir, shim, status_record::StatusRecord,
};

use super::{
    LinkError, ShimLink,
    strays::{Stray, end_holders},
};
use crate::{
    cgroups::Cgroups,
    limits, store,
    sys::{lock, pidfd::PidFd},
    tasks,
};

/// The condition of a container whose start was begun.
#[derive(Debug)]
pub enum Condition {
    /// Its shim answers.
    Alive(ShimLink, shim::State),
    /// It has ended.
    Exited(ExitRecord),
    /// Its shim holds the lock and does not answer.
    Silent,
    /// Its shim is gone without a word.
    Lost,
}

/// Looks. An error means that the question itself failed; the container is left alone.
pub async fn inspect(run_dir: &RunDir, exit_record: &Path) -> io::Result<Condition> {
    match reach(run_dir).await {
        Ok((link, state)) => return Ok(Condition::Alive(link, state)),
        Err(error) => tracing::debug!(%error, run_dir = %run_dir.path().display(), "no answer"),
    }
    let (lock_file, record) = (run_dir.lock(), exit_record.to_owned());
    tasks::blocking(tasks::Pool::Disk, move || {
        // The lock first: a shim that ends in between leaves its record before it frees the lock.
        let free = lock::is_free(&lock_file)?;
        Ok(match (read_exit_record(&record)?, free) {
            (Some(record), _) => Condition::Exited(record),
            (None, true) => Condition::Lost,
            (None, false) => Condition::Silent,
        })
    })
    .await
}

async fn reach(run_dir: &RunDir) -> Result<(ShimLink, shim::State), LinkError> {
    let link = ShimLink::connect(run_dir, limits::SHIM_RECOVER).await?;
    let state = link.state(limits::SHIM_RECOVER).await?;
    Ok((link, state))
}

/// Reads an exit record; `None`: there is none, or one that is damaged and therefore says nothing.
pub fn read_exit_record(path: &Path) -> io::Result<Option<ExitRecord>> {
    let bytes = match store::read(path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!(path = %path.display(), %error, "what is no exit record is ignored");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    match ExitRecord::decode(bytes.get(..RECORD_MAX + 1).unwrap_or(&bytes)) {
        Ok(record) => Ok(Some(record)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a damaged exit record is ignored");
            Ok(None)
        }
    }
}

/// Kills a shim that does not answer, if one holds the lock. For an explicit stop or removal only, and after the keeper
/// was asked to do it: this is for one that no keeper knows. Blocking.
pub fn dismiss_by_force(cgroups: &Cgroups, run_dir: &RunDir) -> io::Result<()> {
    if lock::is_free(&run_dir.lock())? {
        return Ok(());
    }
    let Some(bytes) = store::read(&run_dir.status())? else {
        // It has the lock and was stopped before it did anything more.
        return match end_holders(cgroups, Stray::Shim, &run_dir.lock())? {
            0 if !lock::is_free(&run_dir.lock())? => {
                Err(io::Error::other("no shim is seen that holds the lock"))
            }
            _ => Ok(()),
        };
    };
    let status = StatusRecord::decode(&bytes).map_err(io::Error::other)?;
    let Some(handle) = PidFd::open(status.shim_pid)? else { return Ok(()) };
    // Looked at with the handle open. The keeper holds the lock for a shim that is dead, whose number may be that of
    // another container's by now: the process itself must hold it.
    let is_it = has_open(status.shim_pid, "taffrail-shim", &run_dir.lock())?;
    if lock::is_free(&run_dir.lock())? {
        return Ok(());
    }
    if !is_it {
        return Err(io::Error::other(format!(
            "process {} is not the shim that holds the lock",
            status.shim_pid
        )));
    }
    handle.kill()
}

/// Whether a process of this name (at most fifteen bytes) has this lock open.
pub(super) fn has_open(pid: i32, name: &str, lock: &Path) -> io::Result<bool> {
    let own = Path::new("/proc").join(pid.to_string());
    let its_name = store::read(&own.join("comm"))?.unwrap_or_default();
    if !its_name.starts_with(name.as_bytes()) {
        return Ok(false);
    }
    let wanted = fs::metadata(lock)?;
    let mut open = fs::read_dir(own.join("fd"))?.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(open.any(|fd| {
        // By name first: to look at a file on a network whose server is gone may take for ever.
        fs::read_link(&fd).is_ok_and(|path| path.file_name() == lock.file_name())
            && fs::metadata(&fd).is_ok_and(|file| (file.dev(), file.ino()) == (wanted.dev(), wanted.ino()))
    }))
}
