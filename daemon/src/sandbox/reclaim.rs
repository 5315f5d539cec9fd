//! The reclaim procedure: gives back whatever a sandbox holds, whole or half-made, from its id alone (I4).
//!
//! Collects errors and goes on; the facts' folder goes last, so an unfinished reclaim is found again. Never:
//! needs to know how far the making came.

use std::sync::Arc;

use protocol::ids::SandboxId;

use super::{Parts, SandboxError, SandboxFacts, lifecycle::Event, stop::disconnect};
use crate::{
    steps::attempt,
    store,
    tasks::{Pool, blocking},
};

pub(super) async fn reclaim(facts: Arc<SandboxFacts>, parts: Arc<Parts>) -> (Event, Option<SandboxError>) {
    let Ok(id) = SandboxId::parse(&facts.id) else { return (Event::ReclaimDone, None) };
    let mark = parts.layout.sandbox_ready(&id);
    // From here on it is half-made, whatever else is gone when the daemon dies.
    let unmade = attempt("sandbox.reclaim", blocking(Pool::Disk, move || store::remove_file(&mark))).await;
    let mut errors: Vec<String> =
        unmade.err().map(|e| format!("mark of its making: {e}")).into_iter().collect();
    errors.extend(disconnect(&facts, &parts, &id).await.err().into_iter().flatten());
    let work = move || {
        if errors.is_empty() {
            let state = store::remove_dir(&parts.layout.sandbox_state(&id));
            errors.extend(state.err().map(|e| format!("state folder: {e}")));
        }
        if errors.is_empty() {
            let root = store::remove_dir(&parts.layout.sandbox(&id));
            errors.extend(root.err().map(|e| format!("facts: {e}")));
        }
        errors
    };
    let errors = attempt("sandbox.files_gone", blocking(Pool::Disk, work)).await;
    if errors.is_empty() {
        (Event::ReclaimDone, None)
    } else {
        let left = SandboxError::Left { id: facts.id.clone(), what: errors.join("; ") };
        (Event::ReclaimFailed, Some(left))
    }
}
