//! How work is started: every task has a name and an owner, blocking work runs in named, bounded pools.
//!
//! Owns: the only calls of `tokio::spawn` and `spawn_blocking`. Never: the work.

use std::{future::Future, sync::LazyLock};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::JoinHandle,
};
use tracing::{Instrument, Span, info_span};

use crate::{limits, operations, steps::attempt};

/// A pool of threads for one kind of blocking work.
#[derive(Debug, Clone, Copy)]
pub enum Pool {
    /// Small file-system work: records, mounts, folders.
    Disk,
    /// Paths of the host that pods name: their file systems may hang.
    Foreign,
    /// Commands of a runtime.
    Runtime,
    /// Imports of image files.
    Import,
    /// Unpacking of layers that come from registries.
    Unpack,
    /// Links and addresses.
    Network,
    /// Walks over trees of unknown size: layers and containers' folders that are counted. They may take minutes,
    /// so they have no place among the small works.
    Walk,
}

static DISK: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(limits::DISK_POOL));
static FOREIGN: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(limits::FOREIGN_POOL));
static RUNTIME: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(limits::RUNTIME_POOL));
static NETWORK: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(limits::NETWORK_POOL));
static IMPORT: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(limits::IMPORT_POOL));
static WALK: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(limits::WALK_POOL));
static UNPACK: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(limits::UNPACK_POOL));

/// Starts a task that belongs to nobody who waits: it ends by itself. Its span stands alone: one task that starts its
/// successor again and again would make a chain of spans, none of which ever ends.
pub fn spawn<F>(name: &'static str, work: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    spawn_in(info_span!(parent: None, "task", name), work)
}

fn spawn_in<F>(span: Span, work: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[allow(clippy::disallowed_methods, reason = "the one home of spawn")]
    tokio::spawn(work.instrument(span))
}

/// Runs work that goes on when the caller's future is dropped (I5), and gives its result to a caller that is
/// still there. A panic of the work is the caller's panic.
pub async fn outlive<F>(name: &'static str, work: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match spawn_in(info_span!("task", name), operations::carry(work)).await {
        Ok(value) => value,
        Err(e) => resume(e),
    }
}

/// Waits for a place in a pool, then for work that is not blocking, such as another program's.
pub async fn limited<F: Future>(pool: Pool, work: F) -> F::Output {
    let slot = turn(pool).await;
    let value = work.await;
    drop(slot);
    value
}

/// A place in a pool, at once or when there is one.
async fn turn(pool: Pool) -> SemaphorePermit<'static> {
    if let Ok(slot) = slots(pool).try_acquire() {
        return slot;
    }
    let _waiting = operations::waiting(|| format!("a place in the full pool {pool:?}"));
    slots(pool).acquire().await.expect("the pools' semaphores are never closed")
}

fn slots(pool: Pool) -> &'static Semaphore {
    match pool {
        Pool::Disk => &DISK,
        Pool::Foreign => &FOREIGN,
        Pool::Runtime => &RUNTIME,
        Pool::Import => &IMPORT,
        Pool::Unpack => &UNPACK,
        Pool::Network => &NETWORK,
        Pool::Walk => &WALK,
    }
}

/// Runs blocking work in a pool. It runs to its end even when the caller's future is dropped.
pub async fn blocking<T: Send + 'static>(pool: Pool, work: impl FnOnce() -> T + Send + 'static) -> T {
    let slot = turn(pool).await;
    #[allow(clippy::disallowed_methods, reason = "the one home of spawn_blocking")]
    let work = tokio::task::spawn_blocking(move || {
        let value = work();
        drop(slot);
        value
    });
    match work.await {
        Ok(value) => value,
        Err(e) => resume(e),
    }
}

fn resume<T>(error: tokio::task::JoinError) -> T {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => unreachable!("tasks are never cancelled: {error}"),
    }
}

/// Makes a folder at a path that a pod names, where nothing else waits: its file system may hang. The error says so.
pub async fn foreign_folder(step: &'static str, folder: std::path::PathBuf) -> Result<(), String> {
    let shown = folder.display().to_string();
    let make = async {
        let made = blocking(Pool::Foreign, move || std::fs::create_dir_all(folder));
        match tokio::time::timeout(limits::FOREIGN, made).await {
            Ok(made) => made.map_err(|e| format!("{shown}: {e}")),
            Err(_) => {
                Err(format!("{}; is the file system of {shown} hung?", operations::still(limits::FOREIGN)))
            }
        }
    };
    attempt(step, make).await
}
