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
    let kept = loop {
        match keeper.kept().await {
            Ok(kept) => break kept,
            Err(error) => tracing::warn!(%error, "the keeper does not say whom it keeps"),
        }
        if keeper.is_gone() {
            return;
        }
        tokio::time::sleep(limits::SHIM_RETRY).await;
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
            if let Err(error) = bring(&run_dir, &keeper, Some(&turns)).await {
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

/// Brings one shim to the keeper; gives up where one of the two is gone. One that is silent is asked whenever it answers
/// again; where it fails otherwise, some times. `turns`: how many may be asked at a time.
pub(super) async fn bring(
    run_dir: &RunDir,
    keeper: &Connection,
    turns: Option<&Semaphore>,
) -> Result<(), LinkError> {
    let (mut tries, mut is_told) = (1, false);
    loop {
        let turn = match turns {
            Some(turns) => Some(turns.acquire().await),
            None => None,
        };
        // What cannot be reached at all is no shim, or is being replaced.
        let done = match ShimLink::connect(run_dir, limits::SHIM_RECOVER).await {
            Err(error @ LinkError::Unreachable(_)) => return Err(error),
            Err(error) => Err(error),
            Ok(link) => introduce(link, keeper).await,
        };
        drop(turn);
        match done {
            Err(_) if keeper.is_gone() => return done,
            Err(error @ LinkError::Silent { .. }) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(%error, run_dir = %run_dir.path().display(), "nobody keeps this shim; it is asked again and again");
                }
                tokio::time::sleep(limits::SHIM_RETRY).await;
            }
            Err(_) if tries < limits::HAND_OVER_TRIES => {
                tries += 1;
                tokio::time::sleep(limits::HAND_OVER_AGAIN).await;
            }
            done => return done,
        }
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
