//! The stop procedure: takes down the namespaces and mounts of a sandbox whose containers have ended.
//!
//! Owns: the order of steps. Never: containers.

use std::{fs, io, path::Path, sync::Arc};

use protocol::ids::SandboxId;

use super::{Parts, SandboxError, SandboxFacts, lifecycle::Event};
use crate::{
    steps::step,
    store, sys,
    tasks::{Pool, blocking},
};

pub(super) async fn stop(facts: Arc<SandboxFacts>, parts: Arc<Parts>) -> (Event, Option<SandboxError>) {
    let Ok(id) = SandboxId::parse(&facts.id) else { return (Event::StopDone, None) };
    let work = move || {
        // The mark first: a daemon that dies halfway finds a stopped sandbox, and takes down the rest of it.
        store::replace(&parts.layout.sandbox_stopped(&id), b"").map_err(|e| e.to_string())?;
        let errors = take_down(&parts, &id);
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    };
    match step("sandbox.stop", blocking(Pool::Disk, work)).await {
        Ok(()) => (Event::StopDone, None),
        Err(what) => (Event::StopFailed, Some(SandboxError::step(&facts.id, "sandbox.stop", what))),
    }
}

/// Unpins and unmounts; goes on after an error; finds work done: fine. Used by reclaim too.
pub(super) fn take_down(parts: &Parts, id: &SandboxId) -> Vec<String> {
    let layout = &parts.layout;
    let mut errors = Vec::new();
    for path in [layout.net_pin(id), layout.ipc_pin(id), layout.uts_pin(id)] {
        if let Err(error) = unpin(&path) {
            errors.push(format!("{}: {error}", path.display()));
        }
    }
    if let Err(error) = sys::mounts::unmount(&layout.shm(id)) {
        errors.push(format!("{}: {error}", layout.shm(id).display()));
    }
    errors
}

fn unpin(path: &Path) -> io::Result<()> {
    sys::mounts::unmount(path)?;
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
