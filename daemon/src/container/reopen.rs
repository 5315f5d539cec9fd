//! A container's log goes on in a new file.
//!
//! Owns: that a shim killed meanwhile is no failure. Never: renames a log.

use super::{ContainerError, ContainerFacts, Parts, start::replaced};
use crate::{
    limits,
    shims::{Condition, LinkError, ShimLink},
};

/// Asks the shim to open the file that is at the log's path now. Where it is killed meanwhile, the next one is asked: a
/// log that is opened twice is the same log.
pub async fn reopen_log(
    facts: &ContainerFacts,
    parts: &Parts,
    link: &ShimLink,
) -> Result<(), ContainerError> {
    let mut answer = link.reopen_log().await;
    for _ in 0..limits::LAUNCHES_MORE {
        let Err(LinkError::Unreachable(_)) = answer else { break };
        let Some(Condition::Alive(next, _)) = replaced(facts, parts).await else { break };
        answer = next.reopen_log().await;
    }
    answer.map_err(|error| ContainerError::shim(&facts.id, error))
}
