//! What the runtimes on this host can do, as each says itself (`runc features`): asked once, when somebody first wants
//! to know.
//!
//! Owns: the answers, in memory. Never: believes in a feature that a runtime does not name.

use std::{collections::BTreeMap, process::Stdio, sync::Arc};

use tokio::sync::OnceCell;

use crate::{limits, oci, oci::Handlers};

/// The answers, by handler.
#[derive(Debug, Default)]
pub struct Features {
    recursive: BTreeMap<String, OnceCell<bool>>,
}

impl Features {
    /// Nothing is known yet.
    pub fn new(handlers: &Handlers) -> Arc<Self> {
        let recursive = handlers.names().map(|name| (name.to_owned(), OnceCell::new())).collect();
        Arc::new(Self { recursive })
    }

    /// Whether a handler's runtime makes mounts read-only with all below them.
    pub async fn recursive_read_only(&self, handlers: &Handlers, name: &str) -> bool {
        let Some(cell) = self.recursive.get(name) else { return false };
        *cell.get_or_init(|| ask(handlers, name)).await
    }
}

async fn ask(handlers: &Handlers, name: &str) -> bool {
    let Ok(runtime) = handlers.get(name) else { return false };
    let child = tokio::process::Command::new(runtime.program())
        .arg("features")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(limits::RUNTIME_FEATURES, child).await {
        Ok(Ok(output)) if output.status.success() => oci::knows_recursive_read_only(&output.stdout),
        // Old runtimes have no such command.
        _ => false,
    }
}
