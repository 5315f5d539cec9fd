//! A container whose end nobody saw: kill what is left, the runtime's commands too, and say so.
//!
//! Owns: the record of a loss. Never: invents a success.

use std::{io, sync::Arc};

use protocol::{
    exit_record::{ExitRecord, ExitStatus},
    ids::ContainerId,
    rundir::RunDir,
};

use super::{ContainerFacts, Parts};
use crate::{
    clock::now_nanos,
    limits,
    shims::{end_orphaned_commands, read_exit_record},
    steps::attempt,
    store,
    sys::lock::{Lock, TryLock, try_lock},
    tasks::{Pool, blocking},
};

/// Why a container is lost: in the words of the record, by which the CRI's reason is chosen.
pub const RESTARTED: &str = "the host was restarted";

/// As [`RESTARTED`]: what does not survive a restart is gone, though there was none.
pub const STATE_LOST: &str = "its state folder was lost";

/// Kills what remains of the container and writes the record, holding the run directory's lock. An exit record that is
/// there after all wins.
pub async fn record_lost(
    facts: &Arc<ContainerFacts>,
    parts: &Arc<Parts>,
    why: &str,
) -> io::Result<ExitRecord> {
    write(facts, parts, ExitStatus::Lost, why).await
}

/// As [`record_lost`], for one whose shim and keeper are gone, but that is known to have ended by itself, so.
pub(super) async fn record_ended(
    facts: &Arc<ContainerFacts>,
    parts: &Arc<Parts>,
    status: ExitStatus,
) -> io::Result<ExitRecord> {
    write(facts, parts, status, "its shim and the keeper were killed; the kernel told how it ended").await
}

/// As [`record_lost`], for one that never had a process.
pub(super) async fn record_never_started(
    facts: &Arc<ContainerFacts>,
    parts: &Arc<Parts>,
) -> io::Result<ExitRecord> {
    write_patiently(facts, parts, ExitStatus::NeverStarted, "it was stopped before it was started").await
}

/// As [`record_lost`], for one whose start failed. What the shim has written wins. An error means that a shim still
/// holds the lock after a while, or that the disk refuses: then nobody knows how it will end.
pub(super) async fn record_start_failed(
    facts: &Arc<ContainerFacts>,
    parts: &Arc<Parts>,
    why: &str,
) -> io::Result<ExitRecord> {
    write_patiently(facts, parts, ExitStatus::StartFailed, protocol::exit_record::cut(why)).await
}

/// As `write`, after a shim that leaves. It was sent away, or sees that its connection has ended, and takes its time on a
/// busy host. One that is left to be found dead would be told of as killed.
async fn write_patiently(
    facts: &Arc<ContainerFacts>,
    parts: &Arc<Parts>,
    status: ExitStatus,
    why: &str,
) -> io::Result<ExitRecord> {
    let mut looks_left = limits::LEAVING_LOOKS;
    loop {
        match write(facts, parts, status.clone(), why).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && looks_left > 0 => looks_left -= 1,
            written => return written,
        }
        tokio::time::sleep(limits::LEAVING_LOOK).await;
    }
}

fn record_of(status: ExitStatus, why: &str) -> ExitRecord {
    ExitRecord { status, at: now_nanos(), started_at: 0, oom_kills: 0, message: why.to_owned() }
}

/// The run directory's lock. `None`: nobody can have it, since its file is not there and there is no room for one; a full
/// state folder must not keep a container from being stopped.
fn hold(run_dir: &RunDir) -> io::Result<Option<Lock>> {
    let (owner, path) = (format!("taffrail daemon {}", std::process::id()), run_dir.lock());
    match store::make_dir(run_dir.path()).and_then(|()| try_lock(&path, &owner)) {
        Ok(TryLock::Held(lock)) => Ok(Some(lock)),
        Ok(TryLock::Busy(_)) => Err(io::Error::new(io::ErrorKind::WouldBlock, "a shim lives after all")),
        Err(e) if e.kind() == io::ErrorKind::StorageFull && !path.exists() => Ok(None),
        Err(e) => Err(e),
    }
}

async fn write(
    facts: &Arc<ContainerFacts>,
    parts: &Arc<Parts>,
    status: ExitStatus,
    why: &str,
) -> io::Result<ExitRecord> {
    let (facts, parts, message) = (facts.clone(), parts.clone(), why.to_owned());
    let work = move || {
        let id = ContainerId::parse(&facts.id).map_err(io::Error::other)?;
        if let Some(record) = read_exit_record(&parts.layout.exit_record(&id))? {
            return Ok(record);
        }
        let run_dir = parts.layout.run_dir(&id);
        let _held = hold(&run_dir)?;
        if let Some(record) = read_exit_record(&parts.layout.exit_record(&id))? {
            return Ok(record);
        }
        // First those that could put another process there.
        end_orphaned_commands(&parts.cgroups, &id)?;
        parts.cgroups.kill(&facts.cgroup_parent, &id)?;
        let record = record_of(status, &message);
        store::replace_reserved(&parts.layout.exit_record(&id), &record.encode())?;
        Ok(record)
    };
    attempt("container.lost", blocking(Pool::Disk, work)).await
}
