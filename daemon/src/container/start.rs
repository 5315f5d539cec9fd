//! The start procedure: a shim, then the runtime's create, then its start.
//!
//! Owns: the order of steps. Never: policy; how a start failed stands in the exit record, which the shim writes.

use std::sync::Arc;

use protocol::{
    exit_record::{ExitRecord, ExitStatus},
    ids::ContainerId,
    shim::{self, LaunchRequest, Phase},
};

use super::{ContainerError, ContainerFacts, Parts, Resources, ending::Ending, lifecycle::Event, lost};
use crate::{
    cgroups::grace,
    limits,
    oci::bundle,
    operations,
    shims::{Condition, LinkError, ShimLink, inspect},
    steps::attempt,
    store,
    tasks::{Pool, blocking, foreign_folder},
};

pub(super) async fn start(
    facts: Arc<ContainerFacts>,
    parts: Arc<Parts>,
    resources: Arc<Resources>,
) -> Ending {
    let mut error = match launch(&facts, &parts, &resources).await {
        Ok(link) => return finish(&facts, &parts, link).await,
        Err(error) => error,
    };
    // Its shim was killed. Before it took the container up: there is nothing of it, and it is launched again.
    for _ in 0..limits::LAUNCHES_MORE {
        if !error.is_gone() {
            break;
        }
        match replaced(&facts, &parts).await {
            Some(Condition::Alive(link, _)) => return finish(&facts, &parts, link).await,
            // It had been taken up: there may be something of it, which is ended before it is said to have failed.
            Some(Condition::Lost) if was_taken_up(&facts, &parts) => break,
            Some(Condition::Lost) => match launch(&facts, &parts, &resources).await {
                Ok(link) => return finish(&facts, &parts, link).await,
                Err(again) => error = again,
            },
            Some(Condition::Exited(record)) => return over(&facts, record, error),
            Some(Condition::Silent) | None => break,
        }
    }
    failed(&facts, &parts, None, error).await
}

/// It has ended, and its shim was killed when that was written down: as a program that ran, or as one that never did.
fn over(facts: &ContainerFacts, record: ExitRecord, error: ContainerError) -> Ending {
    let error = match record.status {
        ExitStatus::Exited(_) | ExitStatus::Signaled(_) => return Ending::started_and_over(),
        ExitStatus::StartFailed => {
            ContainerError::Start { id: facts.id.clone(), message: record.message.clone() }
        }
        _ => error,
    };
    let mut ending = Ending::failed(Event::StartFailed, error);
    ending.exit = Some(record);
    ending
}

/// Whether a shim has ever written in the container's run directory. One that is gone, or cannot be read, says nothing.
pub(super) fn was_taken_up(facts: &ContainerFacts, parts: &Parts) -> bool {
    let Ok(id) = ContainerId::parse(&facts.id) else { return false };
    let run_dir = parts.layout.run_dir(&id);
    let looked = run_dir.status().symlink_metadata();
    !looked.is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound && run_dir.path().is_dir())
}

/// What is in the place of a shim whose conversation broke; silent only when it stays so.
pub(super) async fn replaced(facts: &ContainerFacts, parts: &Parts) -> Option<Condition> {
    let id = ContainerId::parse(&facts.id).ok()?;
    let run_dir = parts.layout.run_dir(&id);
    let mut last = None;
    for _ in 0..limits::REPLACED_LOOKS {
        match inspect(&run_dir, &parts.layout.exit_record(&id)).await {
            Ok(Condition::Silent) => last = Some(Condition::Silent),
            Ok(condition) => return Some(condition),
            Err(error) => tracing::warn!(id = %facts.id, %error, "a shim cannot be looked at"),
        }
        tokio::time::sleep(limits::REPLACED_LOOK).await;
    }
    last
}

/// Goes on with a start that a former daemon began: the shim knows how far it came.
pub(super) async fn resume(facts: Arc<ContainerFacts>, parts: Arc<Parts>, link: ShimLink) -> Ending {
    finish(&facts, &parts, link).await
}

async fn launch(
    facts: &Arc<ContainerFacts>,
    parts: &Arc<Parts>,
    resources: &Arc<Resources>,
) -> Result<ShimLink, ContainerError> {
    grace::begin(&parts.cgroups);
    let id = ContainerId::parse(&facts.id).map_err(|e| ContainerError::step(&facts.id, "id", e))?;
    let request = request(facts, parts, &id)?;
    if let Some(folder) = std::path::Path::new(&facts.log_path).parent().filter(|f| !f.as_os_str().is_empty())
    {
        let made = foreign_folder("container.log_folder", folder.to_owned()).await;
        made.map_err(|e| ContainerError::step(&facts.id, "container.log_folder", e))?;
    }
    {
        let (parts, id) = (parts.clone(), id.clone());
        let updated = (**resources != facts.config.resources).then(|| resources.clone());
        let prepare = move || {
            if let Some(resources) = updated {
                bundle::write_limits(&parts.layout.bundle(&id), &resources, &parts.host)?;
            }
            store::make_dir(parts.layout.run_dir(&id).path())?;
            store::replace(&parts.layout.container_launched(&id), b"")
        };
        attempt("container.launched", blocking(Pool::Disk, prepare))
            .await
            .map_err(|e| ContainerError::step(&facts.id, "container.launched", e))?;
    }
    let newborn = attempt("shim.newborn", parts.shims.newborn()).await;
    let newborn = newborn.map_err(|e| ContainerError::shim(&facts.id, e))?;
    let answer = attempt("runtime.create", newborn.link.launch(request)).await;
    parts.shims.launched(&newborn, parts.layout.run_dir(&id));
    // The connection by which it was born ends with this value; the container's own goes on.
    let link = newborn.link;
    match answer.map_err(|e| ContainerError::link(&facts.id, &e))?.failure.into_option() {
        None => Ok(link),
        Some(failure) => {
            // Its record is on disk; a shim without a container is not needed.
            drop(link.dismiss().await);
            Err(start_error(facts, &failure))
        }
    }
}

fn start_error(facts: &ContainerFacts, failure: &shim::Failure) -> ContainerError {
    let message = if failure.timed_out {
        let step = if failure.step == "start" { "runtime.start" } else { "runtime.create" };
        let place = operations::still_in(step, limits::RUNTIME_COMMAND);
        let said = if failure.message.is_empty() { String::new() } else { format!(": {}", failure.message) };
        format!("{place}; the runtime was killed{said}")
    } else {
        format!("the runtime's {} failed: {}", failure.step, failure.message)
    };
    ContainerError::Start { id: facts.id.clone(), message }
}

async fn finish(facts: &Arc<ContainerFacts>, parts: &Arc<Parts>, mut link: ShimLink) -> Ending {
    for _ in 0..limits::LAUNCHES_MORE {
        match go_on(facts, &link).await {
            Ok(state) => return Ending::running(link, &state),
            Err(error) if error.is_gone() => match replaced(facts, parts).await {
                Some(Condition::Alive(again, _)) => link = again,
                Some(Condition::Exited(record)) => return over(facts, record, error),
                _ => return failed(facts, parts, Some(link), error).await,
            },
            Err(error) => return failed(facts, parts, Some(link), error).await,
        }
    }
    let error = ContainerError::shim(&facts.id, "its shims are killed one after the other");
    failed(facts, parts, Some(link), error).await
}

/// Waits for create, asks for start, and says what became of it.
pub(super) async fn go_on(facts: &ContainerFacts, link: &ShimLink) -> Result<shim::State, ContainerError> {
    let gone = |e: LinkError| ContainerError::link(&facts.id, &e);
    let mut state = link.state(limits::SHIM_ANSWER).await.map_err(gone)?;
    loop {
        match state.phase.enum_value_or_default() {
            Phase::CREATED => {
                let answer = attempt("runtime.start", link.start()).await.map_err(gone)?;
                if let Some(failure) = answer.failure.into_option() {
                    return Err(start_error(facts, &failure));
                }
                return link.state(limits::SHIM_ANSWER).await.map_err(gone);
            }
            Phase::RUNNING => return Ok(state),
            // Without a start its end is that of a start that failed, which its record will say.
            Phase::DRAINING if state.started_at > 0 => return Ok(state),
            Phase::EXITED => return ended(facts, state),
            Phase::PHASE_UNSPECIFIED | Phase::BORN | Phase::CREATING | Phase::STARTING | Phase::DRAINING => {
                state = link.next_state(state.sequence).await.map_err(gone)?;
            }
        }
    }
}

/// Ended already: as a program that ran, or as one that never did.
fn ended(facts: &ContainerFacts, state: shim::State) -> Result<shim::State, ContainerError> {
    match ExitRecord::decode(&state.exit_record) {
        Ok(ExitRecord { status: ExitStatus::StartFailed | ExitStatus::NeverStarted, message, .. }) => {
            Err(ContainerError::Start { id: facts.id.clone(), message })
        }
        _ => Ok(state),
    }
}

/// Sees to it that there is an exit record, whoever failed, and sends the shim away.
async fn failed(
    facts: &Arc<ContainerFacts>,
    parts: &Arc<Parts>,
    link: Option<ShimLink>,
    error: ContainerError,
) -> Ending {
    if let Some(link) = link {
        // It refuses while something lives; then the removal of the container sees to it.
        drop(link.dismiss().await);
    }
    let message = match &error {
        ContainerError::Start { message, .. } => message.clone(),
        other => other.to_string(),
    };
    match lost::record_start_failed(facts, parts, &message).await {
        Ok(record) => {
            let mut ending = Ending::failed(Event::StartFailed, error);
            ending.exit = Some(record);
            ending
        }
        Err(reason) => {
            tracing::warn!(id = %facts.id, error = %reason, "what became of a start is not known");
            Ending::failed(Event::StartUnknown, error)
        }
    }
}

fn request(facts: &ContainerFacts, parts: &Parts, id: &ContainerId) -> Result<LaunchRequest, ContainerError> {
    let runtime = parts.handlers.get(&facts.runtime)?;
    let run_dir = parts.layout.run_dir(id);
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let mut request = LaunchRequest::new();
    request.container_id = facts.id.clone();
    request.run_dir = text(run_dir.path().to_owned());
    request.exit_record = text(parts.layout.exit_record(id));
    let config = &facts.config;
    request.create = Some(runtime.create(&run_dir, &parts.layout.bundle(id), id, config.tty)).into();
    request.start = Some(runtime.start(&run_dir, id)).into();
    request.undo = Some(runtime.delete(&run_dir, id)).into();
    request.log_path = facts.log_path.clone();
    request.terminal = config.tty;
    request.stdin = config.stdin;
    request.stdin_once = config.stdin_once;
    request.kill_leftovers = facts.shares_pids;
    request.cgroups = Some(parts.cgroups.for_shim(&facts.cgroup_parent, id)).into();
    Ok(request)
}
