//! Follows one shim: its exit, its silence, its return. A broken connection is made anew; only a free lock
//! without an exit record means that the end was missed.
//!
//! Owns: the news an owner gets of its shim. Never: kills anything that may still be supervised.

use std::sync::Arc;

use protocol::{
    exit_record::ExitRecord,
    ids::ContainerId,
    shim::{Phase, State},
};

use super::{ContainerFacts, Parts, lost, start, witness::Witness};
use crate::{
    limits,
    shims::{Condition, ShimLink, inspect},
};

/// How a start ended whose shim had locked the run directory and done no more.
const NEVER_TAKEN_UP: &str = "its start came to nothing before anything of it was made";

/// What an owner hears of its shim.
#[derive(Debug)]
pub(super) enum News {
    /// The container has ended; the record is on disk.
    Exited(ExitRecord),
    /// It does not answer.
    Silent,
    /// It answers again, and this is how its container is.
    Back(ShimLink, Box<State>),
}

/// Follows until the exit; `tell` is false when nobody listens any more.
pub(super) async fn watch<T>(
    facts: Arc<ContainerFacts>,
    parts: Arc<Parts>,
    mut link: Option<ShimLink>,
    tell: impl Fn(News) -> T,
) where
    T: Future<Output = bool>,
{
    let Ok(id) = ContainerId::parse(&facts.id) else { return };
    let (mut silent, mut has_answered) = (link.is_none(), link.is_some());
    let mut witness = Witness::default();
    loop {
        if let Some(link) = link.take()
            && let Some(record) = until_exit(&link, &mut witness, (&facts, &parts, &id)).await
        {
            // The record is on disk and we have it: the shim is not needed any more.
            if let Err(error) = link.dismiss().await {
                tracing::debug!(id = %facts.id, %error, "the shim does not leave");
            }
            tell(News::Exited(record)).await;
            return;
        }
        let run_dir = parts.layout.run_dir(&id);
        match inspect(&run_dir, &parts.layout.exit_record(&id)).await {
            Ok(Condition::Alive(again, mut state)) => {
                if silent && !has_started(&state) {
                    // The daemon that began this start died before it ended: it goes on.
                    match start::go_on(&facts, &again).await {
                        Ok(now) => state = now,
                        Err(error) => tracing::warn!(id = %facts.id, %error, "a start that was begun failed"),
                    }
                }
                // Told even when it was never silent: the old connection is dead for everyone.
                if !tell(News::Back(again.clone(), Box::new(state))).await {
                    return;
                }
                (silent, has_answered) = (false, true);
                link = Some(again);
            }
            Ok(Condition::Exited(record)) => {
                tell(News::Exited(record)).await;
                return;
            }
            // Somebody else recorded its end, and it was removed: there is nothing to record a loss of.
            Ok(Condition::Lost) if !parts.layout.container(&id).exists() => return,
            Ok(Condition::Lost) => match record_loss(&facts, &parts, &witness, has_answered).await {
                Ok(record) => {
                    tell(News::Exited(record)).await;
                    return;
                }
                Err(error) => tracing::error!(id = %facts.id, %error, "a loss cannot be recorded"),
            },
            Ok(Condition::Silent) => {
                // Told each time: a kill that failed meanwhile has taken it for running.
                if !tell(News::Silent).await {
                    return;
                }
                silent = true;
                parts.shims.mind_keeper().await;
            }
            Err(error) => tracing::error!(id = %facts.id, %error, "the shim cannot be looked at"),
        }
        if link.is_none() {
            tokio::time::sleep(limits::SHIM_RETRY).await;
        }
    }
}

fn has_started(state: &State) -> bool {
    match state.phase.enum_value_or_default() {
        Phase::RUNNING | Phase::DRAINING | Phase::EXITED => true,
        Phase::PHASE_UNSPECIFIED | Phase::BORN | Phase::CREATING | Phase::CREATED | Phase::STARTING => false,
    }
}

/// Shim and keeper are gone. What has ended by itself may have a true status still; what runs is killed.
async fn record_loss(
    facts: &Arc<ContainerFacts>,
    parts: &Arc<Parts>,
    witness: &Witness,
    has_answered: bool,
) -> std::io::Result<ExitRecord> {
    if !has_answered && !start::was_taken_up(facts, parts) {
        return lost::record_start_failed(facts, parts, NEVER_TAKEN_UP).await;
    }
    if witness.has_ended()
        && let Some(status) = witness.status()
    {
        return lost::record_ended(facts, parts, status).await;
    }
    lost::record_lost(facts, parts, "its shim and the keeper were killed").await
}

/// Waits for the exit; `None`: the connection broke.
async fn until_exit(
    link: &ShimLink,
    witness: &mut Witness,
    (facts, parts, id): (&ContainerFacts, &Parts, &ContainerId),
) -> Option<ExitRecord> {
    let mut state = State::new();
    loop {
        state = match link.next_state(state.sequence).await {
            Ok(state) => state,
            Err(error) => {
                tracing::debug!(%error, "the connection to a shim ended");
                return None;
            }
        };
        witness.meet(state.init_pid, facts, parts, id).await;
        if state.phase.enum_value_or_default() == Phase::EXITED {
            match ExitRecord::decode(&state.exit_record) {
                Ok(record) => return Some(record),
                Err(error) => {
                    tracing::error!(%error, "a shim told a damaged exit record");
                    return None;
                }
            }
        }
    }
}
