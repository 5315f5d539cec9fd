//! The stop procedure: takes down the namespaces and mounts of a sandbox whose containers have ended.
//!
//! Owns: the order of steps. Never: containers.

use std::{fs, io, path::Path, sync::Arc};

use protocol::ids::SandboxId;

use super::{Parts, PodInit, SandboxError, SandboxFacts, lifecycle::Event};
use crate::{
    steps::attempt,
    store, sys,
    tasks::{Pool, blocking},
};

pub(super) async fn stop(facts: Arc<SandboxFacts>, parts: Arc<Parts>) -> (Event, Option<SandboxError>) {
    let Ok(id) = SandboxId::parse(&facts.id) else { return (Event::StopDone, None) };
    let mark = {
        let path = parts.layout.sandbox_stopped(&id);
        // The mark first: a daemon that dies halfway finds a stopped sandbox, and takes down the rest of it.
        move || store::replace_reserved(&path, b"").map_err(|e| vec![format!("the mark of its stop: {e}")])
    };
    let done = match attempt("sandbox.stop", blocking(Pool::Disk, mark)).await {
        Ok(()) => disconnect(&facts, &parts, &id).await,
        failed => failed,
    };
    match done {
        Ok(()) => (Event::StopDone, None),
        Err(what) => {
            (Event::StopFailed, Some(SandboxError::step(&facts.id, "sandbox.stop", what.join("; "))))
        }
    }
}

/// Detaches it, then takes down its namespaces and mounts: a network's plugins want to find the namespace, at the next
/// try too. Used by reclaim too.
pub(super) async fn disconnect(
    facts: &Arc<SandboxFacts>,
    parts: &Arc<Parts>,
    id: &SandboxId,
) -> Result<(), Vec<String>> {
    parts.networks.detach(id).await.map_err(|e| vec![e.to_string()])?;
    let (facts, parts, id) = (facts.clone(), parts.clone(), id.clone());
    let errors =
        attempt("sandbox.take_down", blocking(Pool::Disk, move || take_down(&facts, &parts, &id))).await;
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Unpins and unmounts; goes on after an error; finds work done: fine.
fn take_down(facts: &SandboxFacts, parts: &Parts, id: &SandboxId) -> Vec<String> {
    let layout = &parts.layout;
    let mut errors = Vec::new();
    // It lives in the other namespaces, which go when nobody does.
    let ended = PodInit::of(facts, &parts.cgroups).and_then(|init| init.end());
    errors.extend(ended.err().map(|e| format!("the pod's first process: {e}")));
    for path in [layout.pid_pin(id), layout.net_pin(id), layout.ipc_pin(id), layout.uts_pin(id)] {
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
