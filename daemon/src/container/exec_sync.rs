//! One command in a running container, to its end: the daemon brings the pipes and collects, the shim spawns,
//! keeps the deadline and kills the tree. A dead daemon leaves no immortal probe.
//!
//! Owns: the bounds on output. Never: a pid.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::{fcntl::OFlag, unistd::pipe2};
use protobuf::Message;
use protocol::{
    ids::{ContainerId, ExecId},
    shim::{ExecOutcome, ExecRequest, exec_outcome::How},
};
use tokio::{io::AsyncReadExt, net::unix::pipe, sync::Semaphore};

use super::{Container, ContainerError, Parts, lifecycle::State};
use crate::{cgroups::grace, limits, steps::attempt, tasks};

static NUMBER: AtomicU64 = AtomicU64::new(0);
/// Tells this daemon's execs from those of the one before.
static RUN: LazyLock<String> = LazyLock::new(|| crate::ids::new_id().chars().take(12).collect());
static SLOTS: Semaphore = Semaphore::const_new(limits::EXEC_SYNC_POOL);

/// Longest outcome a shim writes, in bytes: its message is bounded too.
const OUTCOME_MAX: usize = 2 * protocol::limits::MESSAGE_MAX;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecEnd {
    /// It ended: exit code (128 and the signal's number for a signal), stdout, stderr.
    Ended {
        /// 0 to 255.
        code: i32,
        /// At most `EXEC_OUTPUT_MAX` bytes.
        stdout: Vec<u8>,
        /// At most `EXEC_OUTPUT_MAX` bytes.
        stderr: Vec<u8>,
    },
    /// The deadline passed; all of it was killed.
    TimedOut,
}

/// Runs a command. `timeout` zero: no deadline.
pub async fn exec_sync(
    container: &Container,
    parts: &Parts,
    argv: Vec<String>,
    timeout: Duration,
) -> Result<ExecEnd, ContainerError> {
    let facts = &container.facts;
    let view = container.view();
    let state = |state| ContainerError::State { id: facts.id.clone(), state, what: "executed in" };
    let link = match view.state {
        State::Running | State::Stopping => view.link.clone().ok_or_else(|| state(view.word()))?,
        State::Creating
        | State::Created
        | State::Starting
        | State::Unknown
        | State::Exited
        | State::Reclaiming
        | State::Gone => return Err(state(view.word())),
    };
    let fail = |e: String| ContainerError::step(&facts.id, "exec.ask", e);
    let id = ContainerId::parse(&facts.id).map_err(|e| fail(e.to_string()))?;
    // One container's endless commands do not take the turns of all others; and waiting for a turn has an end.
    let turn = async { (container.execs.acquire().await, SLOTS.acquire().await) };
    let patience = if timeout.is_zero() { limits::EXEC_TURN } else { timeout };
    let Ok(_turn) = tokio::time::timeout(patience, turn).await else {
        return Err(ContainerError::Busy { id: facts.id.clone() });
    };
    grace::begin(&parts.cgroups);
    // Unique over the life of the container, whichever daemon asks: process ids come again.
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let exec = ExecId::parse(&format!("{}-{number}", *RUN)).map_err(|e| fail(e.to_string()))?;
    let request = request(container, parts, &id, &exec, &argv, timeout)?;

    let pipes = (|| Ok::<_, io::Error>((reading_end()?, reading_end()?, reading_end()?)))();
    let ((stdout, out), (stderr, err), (outcome, end)) = pipes.map_err(|e| fail(e.to_string()))?;
    let asked =
        tasks::outlive(
            "exec",
            async move { attempt("exec.ask", link.exec(request, vec![out, err, end])).await },
        );
    asked.await.map_err(|e| ContainerError::shim(&facts.id, e))?;
    collect(container, stdout, stderr, outcome, timeout).await
}

fn request(
    container: &Container,
    parts: &Parts,
    id: &ContainerId,
    exec: &ExecId,
    argv: &[String],
    timeout: Duration,
) -> Result<ExecRequest, ContainerError> {
    let facts = &container.facts;
    let runtime = parts.handlers.get(&facts.runtime)?;
    let mut request = ExecRequest::new();
    request.exec_id = exec.to_string();
    request.command = Some(runtime.exec(&parts.layout.run_dir(id), id, exec, argv)).into();
    request.timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    let mut cgroups = parts.cgroups.for_shim(&facts.cgroup_parent, id);
    let name = crate::oci::exec_cgroup(exec);
    cgroups.memory.clear();
    for folder in [&mut cgroups.unified, &mut cgroups.freezer] {
        if !folder.is_empty() {
            folder.push('/');
            folder.push_str(&name);
        }
    }
    request.cgroups = Some(cgroups).into();
    Ok(request)
}

/// A pipe: our end for reading in the executor, and the end to give away.
fn reading_end() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((pipe::Receiver::from_owned_fd(read)?, write))
}

async fn collect(
    container: &Container,
    mut stdout: pipe::Receiver,
    mut stderr: pipe::Receiver,
    outcome: pipe::Receiver,
    timeout: Duration,
) -> Result<ExecEnd, ContainerError> {
    let facts = &container.facts;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let how = {
        let outputs = async { tokio::join!(drain(&mut stdout, &mut out), drain(&mut stderr, &mut err)) };
        tokio::pin!(outputs);
        let end = read_outcome(outcome);
        tokio::pin!(end);
        let deadline = async {
            if timeout.is_zero() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(timeout + limits::RUNTIME_COMMAND + limits::EXEC_SHIM_GRACE).await;
        };
        tokio::pin!(deadline);
        let mut whole = false;
        let how = loop {
            tokio::select! {
                how = &mut end => break how,
                _ = &mut outputs, if !whole => whole = true,
                () = &mut deadline => {
                    return Err(ContainerError::shim(&facts.id, "the shim says nothing of the command's end"));
                }
            }
        };
        // What is in the pipes is read; a grandchild that holds them is not waited for.
        if !whole {
            drop(tokio::time::timeout(limits::EXEC_DRAIN, &mut outputs).await);
        }
        how
    };
    let how = how.map_err(|e| ContainerError::shim(&facts.id, e))?;
    // Both in one message, which the kubelet's client takes up to its own bound only.
    out.truncate(limits::EXEC_ANSWER_MAX);
    err.truncate(limits::EXEC_ANSWER_MAX - out.len());
    let code = match how {
        Some(How::Exited(code)) => code,
        Some(How::Signaled(signal)) => 128 + signal,
        Some(How::TimedOut(_)) => return Ok(ExecEnd::TimedOut),
        Some(How::Failure(failure)) => return failed(facts.id.as_str(), &failure),
        None => return Err(ContainerError::shim(&facts.id, "the shim ended before the command")),
        Some(_) => {
            return Err(ContainerError::shim(&facts.id, "the shim told an end unknown to this version"));
        }
    };
    Ok(ExecEnd::Ended { code, stdout: out, stderr: err })
}

/// A command that the runtime could not run: an error, in the runtime's words.
fn failed(id: &str, failure: &protocol::shim::Failure) -> Result<ExecEnd, ContainerError> {
    if failure.timed_out {
        return Ok(ExecEnd::TimedOut);
    }
    Err(ContainerError::Step { id: id.to_owned(), step: "exec", message: failure.message.clone() })
}

/// Reads to the end; keeps what is within bounds, throws the rest away so that the writer can end.
async fn drain(pipe: &mut pipe::Receiver, kept: &mut Vec<u8>) {
    let mut buffer = vec![0u8; 64 << 10];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let room = limits::EXEC_OUTPUT_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
}

/// The first thing that comes: a shim writes it at once and whole. Not until the end, which would wait for all who
/// hold the other side, the keeper too.
async fn read_outcome(mut pipe: pipe::Receiver) -> Result<Option<How>, String> {
    let mut bytes = vec![0; OUTCOME_MAX];
    let count = pipe.read(&mut bytes).await.map_err(|e| e.to_string())?;
    if count == 0 {
        return Ok(None);
    }
    ExecOutcome::parse_from_bytes(&bytes[..count]).map(|outcome| outcome.how).map_err(|e| e.to_string())
}
