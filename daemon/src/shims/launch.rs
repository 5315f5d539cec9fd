//! The one function that spawns shims, the few that are made ahead, and the pin program.
//!
//! Nothing relies on the daemon being a shim's parent. Owns: newborn shims. Never: what they supervise.

use std::{
    collections::VecDeque,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdStream},
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{io::AsyncWriteExt, process::Command};

use super::{LinkError, ShimLink};
use crate::{cgroups::Cgroups, embedded::ShimProgram, limits, operations, steps, tasks};

/// A shim that waits to be told whose it is. Dropped, it sees the end of its socket and exits.
#[derive(Debug)]
pub struct Newborn {
    /// The conversation with it.
    pub link: ShimLink,
    /// Ends when it has left.
    left: tokio::task::JoinHandle<()>,
}

/// Makes shims.
#[derive(Debug)]
pub struct Shims {
    program: ShimProgram,
    cgroups: Cgroups,
    /// Filled by [`Shims::refill`], emptied by [`Shims::newborn`]; never more than `STANDBY_SHIMS`.
    standby: Mutex<VecDeque<Newborn>>,
}

impl Shims {
    /// Loads the program.
    pub fn new(cgroups: Cgroups) -> io::Result<Self> {
        Ok(Self { program: ShimProgram::load()?, cgroups, standby: Mutex::default() })
    }

    /// The program's path for children of this process.
    pub fn program(&self) -> &ShimProgram {
        &self.program
    }

    /// A shim of one's own: one made ahead, else a new one.
    pub async fn newborn(self: &Arc<Self>) -> Result<Newborn, LinkError> {
        // One that somebody killed meanwhile is passed over.
        let ready = {
            let mut standby = self.lock();
            standby.retain(|newborn| !newborn.left.is_finished());
            standby.pop_front()
        };
        let newborn = match ready {
            Some(newborn) => newborn,
            None => self.spawn().await?,
        };
        self.refill();
        Ok(newborn)
    }

    /// Makes shims ahead, in the background.
    pub fn refill(self: &Arc<Self>) {
        let shims = self.clone();
        tasks::spawn("refill shims", async move {
            while shims.lock().len() < limits::STANDBY_SHIMS {
                match shims.spawn().await {
                    Ok(newborn) => shims.lock().push_back(newborn),
                    Err(error) => {
                        tracing::warn!(%error, "no shim could be made ahead");
                        return;
                    }
                }
            }
            shims.lock().truncate(limits::STANDBY_SHIMS);
        });
    }

    /// Lets the shims made ahead go, and waits for that: the daemon ends and will need none.
    pub async fn dismiss_standby(&self) {
        let standby = std::mem::take(&mut *self.lock());
        for Newborn { link, left } in standby {
            drop(link);
            if tokio::time::timeout(limits::STANDBY_LEAVES, left).await.is_err() {
                tracing::warn!("a shim made ahead does not leave; it will when the daemon has ended");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Newborn>> {
        self.standby.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The only place where a shim is started.
    async fn spawn(&self) -> Result<Newborn, LinkError> {
        let unreachable = |e: io::Error| LinkError::Unreachable(format!("cannot be started: {e}"));
        let (ours, theirs) = StdStream::pair().map_err(unreachable)?;
        let mut child = Command::new(self.program.path())
            .arg0("taffrail-shim")
            .env_clear()
            .envs(steps::environment())
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(unreachable)?;
        let cgroups = self.cgroups.clone();
        if let Some(pid) = child.id() {
            // Before it is told anything: what it starts must be born in the right place.
            if let Err(error) = tasks::blocking(tasks::Pool::Disk, move || cgroups.place_shim(pid)).await {
                tracing::warn!(%error, "a shim stays in the daemon's cgroup: what kills that cgroup kills it");
            }
        }
        // Reaps it when it leaves before the daemon does; it may well outlive us.
        let left = tasks::spawn("reap shim", async move { drop(child.wait().await) });
        Ok(Newborn { link: ShimLink::greet(ours, limits::SHIM_ANSWER).await?, left })
    }
}

/// Makes a pod's namespaces and pins them, in a program of its own: a thread that has changed its namespaces
/// must not go back to a pool.
pub async fn pin_namespaces(program: &Path, wishes: &str) -> Result<(), String> {
    duty(program, "pin", wishes, |_| Ok(())).await
}

/// Makes a pod's PID namespace with its first process, which stays. `place` moves it where it is counted, before it
/// does anything: it is killed by its cgroup.
pub async fn start_init(
    program: &Path,
    wishes: &str,
    place: impl FnOnce(u32) -> io::Result<()> + Send + 'static,
) -> Result<(), String> {
    duty(program, "init", wishes, place).await
}

/// Runs the program in a role that reads an order, does it and ends.
async fn duty(
    program: &Path,
    role: &str,
    order: &str,
    place: impl FnOnce(u32) -> io::Result<()> + Send + 'static,
) -> Result<(), String> {
    let mut child = Command::new(program)
        .arg0("taffrail-shim")
        .arg(role)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("the {role} program cannot be started: {e}"))?;
    let mut stdin = child.stdin.take().ok_or_else(|| format!("the {role} program has no stdin"))?;
    if let Some(pid) = child.id() {
        let placed = tasks::blocking(tasks::Pool::Disk, move || place(pid)).await;
        placed.map_err(|e| format!("the {role} program cannot be put into its cgroup: {e}"))?;
    }
    let work = async {
        stdin.write_all(order.as_bytes()).await?;
        drop(stdin);
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(limits::PIN, work).await {
        Ok(output) => output.map_err(|e| format!("the {role} program failed: {e}"))?,
        Err(_) => return Err(format!("{}: the {role} program did not end", operations::still(limits::PIN))),
    };
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!("namespaces cannot be made ({}): {}", output.status, words.trim()))
}
