//! Shims that the present keeper does not know are brought to it: an earlier one was killed.
//!
//! Owns: the search for them, and trying again: one that nobody keeps is lost when it is killed. Never: starts a keeper.

use std::{fs, path::Path, sync::Arc};

use protocol::{rundir::RunDir, version};
use tokio::sync::Semaphore;

use super::{LinkError, ShimLink, keeper::Connection};
use crate::{
    limits,
    steps::attempt,
    sys::packets,
    tasks::{self, Pool, blocking},
};

/// Brings all of them. `folder`: where run directories are.
pub(super) async fn hand_over_all(folder: &Path, keeper: Arc<Connection>) {
    let kept = match keeper.kept().await {
        Ok(kept) => kept,
        Err(error) => return tracing::warn!(%error, "the keeper does not say whom it keeps"),
    };
    let folder = folder.to_owned();
    let run_dirs = blocking(Pool::Disk, move || -> Vec<RunDir> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let strange = entries.filter(|entry| !kept.contains(entry.file_name().to_string_lossy().as_ref()));
        strange.map(|entry| RunDir::new(entry.path())).collect()
    })
    .await;
    let turns = Arc::new(Semaphore::new(limits::HAND_OVER_POOL));
    let work = run_dirs.into_iter().map(|run_dir| {
        let (turns, keeper) = (turns.clone(), keeper.clone());
        tasks::spawn("hand over", async move {
            let _turn = turns.acquire().await;
            if let Err(error) = hand_over(&run_dir, &keeper).await {
                // A folder without a shim is usual; one whose shim is silent is told of by its owner.
                tracing::debug!(%error, run_dir = %run_dir.path().display(), "no shim to hand over");
            }
        })
    });
    for task in work.collect::<Vec<_>>() {
        // It only fails where it panicked, which is told of elsewhere.
        drop(task.await);
    }
}

/// Brings one shim to the keeper. Where it does not come to that, and both are there still, it is tried again.
pub(super) async fn hand_over(run_dir: &RunDir, keeper: &Connection) -> Result<(), LinkError> {
    let mut tries = 1;
    loop {
        // What cannot be reached at all is no shim, or is being replaced.
        let done = match ShimLink::connect(run_dir, limits::SHIM_RECOVER).await {
            Err(error @ LinkError::Unreachable(_)) => return Err(error),
            Err(error) => Err(error),
            Ok(link) => introduce(link, keeper).await,
        };
        if done.is_ok() || tries == limits::HAND_OVER_TRIES || keeper.is_gone() {
            return done;
        }
        tries += 1;
        tokio::time::sleep(limits::HAND_OVER_AGAIN).await;
    }
}

/// Gives each an end of a way to the other.
async fn introduce(link: ShimLink, keeper: &Connection) -> Result<(), LinkError> {
    if !link.hello.features.iter().any(|feature| feature == version::FEATURE_KEEPER) {
        return Ok(());
    }
    let (ours, theirs) = packets::pair().map_err(|e| LinkError::Unreachable(e.to_string()))?;
    attempt("shim.hand_over", keeper.take(ours)).await?;
    attempt("shim.keep", link.keep(theirs)).await
}
