//! The one function that has shims spawned, the few that are made ahead, and the pin program.
//!
//! The keeper is a shim's parent. Owns: newborn shims, and that there is a keeper. Never: what they supervise.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    os::unix::net::UnixStream as StdStream,
    path::{Path, PathBuf},
    pin::Pin,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use protocol::{ids::ContainerId, keeper::report::What, rundir::RunDir};
use tokio::{io::AsyncWriteExt, process::Command};

use super::{
    LinkError, ShimLink,
    hand_over::{bring, hand_over_all},
    keeper::{Connection, Keeper},
};
use crate::{cgroups::Cgroups, embedded::ShimProgram, layout::Layout, limits, operations, tasks};

/// A shim that waits to be told whose it is. Dropped, it sees the end of its socket and exits.
#[derive(Debug)]
pub struct Newborn {
    /// The conversation with it.
    pub link: ShimLink,
    /// Ends when it has left.
    left: tokio::task::JoinHandle<()>,
    /// The keeper that started it.
    keeper: Arc<Connection>,
}

/// Makes shims.
#[derive(Debug)]
pub struct Shims {
    program: Arc<ShimProgram>,
    keeper: Keeper,
    /// Where run directories are.
    run_dirs: PathBuf,
    /// Filled by [`Shims::refill`], emptied by [`Shims::newborn`]; never more than `STANDBY_SHIMS`.
    standby: Mutex<VecDeque<Newborn>>,
    /// None is made ahead any more.
    is_ending: AtomicBool,
}

impl Shims {
    /// Loads the program.
    pub fn new(cgroups: Cgroups, layout: &Layout) -> io::Result<Self> {
        let program = Arc::new(ShimProgram::load()?);
        let keeper = Keeper::new(layout.state().to_owned(), program.clone(), cgroups);
        let (standby, is_ending) = Default::default();
        Ok(Self { program, keeper, run_dirs: layout.run_dirs(), standby, is_ending })
    }

    /// The keeper, started where there is none. What one that was killed held is shown to the next, in the background.
    async fn keeper(self: &Arc<Self>) -> Result<Arc<Connection>, LinkError> {
        let (keeper, is_new) = self.keeper.connection().await?;
        if is_new {
            let (shims, heard) = (self.clone(), keeper.clone());
            tasks::spawn("hear the keeper", async move {
                heard.hear(|what| shims.told(what)).await;
                if shims.keeper.is_leaving() {
                    return;
                }
                tracing::warn!(pid = heard.pid, "the keeper is gone; another one is started");
                // Those made ahead are nobody's children now.
                shims.lock().clear();
                shims.begin();
            });
            let (run_dirs, known) = (self.run_dirs.clone(), keeper.clone());
            tasks::spawn("hand over", async move { hand_over_all(&run_dirs, known).await });
        }
        Ok(keeper)
    }

    /// Boxed: the task that waits for a keeper's end is started by this very function.
    fn keeper_again(
        self: &Arc<Self>,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Connection>, LinkError>> + Send>> {
        let shims = self.clone();
        Box::pin(async move { shims.keeper().await })
    }

    /// A shim has become a container's. Where its keeper was killed meanwhile, the present one is told of it.
    pub fn launched(self: &Arc<Self>, newborn: &Newborn, run_dir: RunDir) {
        if newborn.keeper.is_gone() {
            self.bring(run_dir);
        }
    }

    /// Brings a shim to the present keeper, in the background.
    fn bring(self: &Arc<Self>, run_dir: RunDir) {
        let shims = self.clone();
        tasks::spawn("hand over", async move {
            let done = match shims.keeper_again().await {
                Ok(keeper) => bring(&run_dir, &keeper, None).await,
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                tracing::warn!(%error, run_dir = %run_dir.path().display(), "nobody keeps this shim");
            }
        });
    }

    /// The keeper's process id and the containers that it keeps a shim for; `None`: there is none that answers.
    pub async fn kept(&self) -> Option<(i32, BTreeSet<String>)> {
        let keeper = self.keeper.present()?;
        let mut ids = keeper.kept().await.ok()?;
        // Those made ahead are nobody's yet.
        ids.remove("");
        Some((keeper.pid, ids))
    }

    /// Kills a container's shim for good, where a keeper has it. For an explicit stop or removal only.
    pub async fn forget(&self, id: &ContainerId) {
        let Some(keeper) = self.keeper.present() else { return };
        if let Err(error) = keeper.forget(id.as_str()).await {
            tracing::warn!(%id, %error, "the keeper does not send a shim away");
            if matches!(error, LinkError::Silent { .. }) {
                // Or it would hold the lock of a shim that is dead for ever.
                keeper.give_up().await;
            }
        }
    }

    /// A shim does not answer: it may be dead, and the keeper that should replace it stuck. One that is silent for long is
    /// ended; the next one takes over all whose shims live.
    pub async fn mind_keeper(&self) {
        let Some(keeper) = self.keeper.present() else { return };
        if matches!(keeper.kept().await, Err(LinkError::Silent { .. }))
            && keeper.is_silent_for(limits::KEEPER_PATIENCE)
        {
            keeper.give_up().await;
        }
    }

    /// The same for those that lost their files, by whatever keeper an earlier daemon left.
    pub async fn forget_all(self: &Arc<Self>, ids: &[ContainerId]) -> Result<(), LinkError> {
        let keeper = self.keeper().await?;
        let kept = keeper.kept().await?;
        for id in ids.iter().filter(|id| kept.contains(id.as_str())) {
            keeper.forget(id.as_str()).await?;
        }
        Ok(())
    }

    /// The daemon ends and no container is left: the keeper leaves too, when it sees that.
    pub async fn leave_keeper(&self) {
        self.keeper.leave().await;
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

    /// Sees to it that there is a keeper, and that shims are made ahead, in the background. For a daemon that begins, since
    /// the shims that it found may have none, and after a keeper's end.
    pub fn begin(self: &Arc<Self>) {
        let shims = self.clone();
        tasks::spawn("begin with a keeper", async move {
            while let Err(error) = shims.keeper().await {
                if shims.keeper.is_leaving() {
                    return;
                }
                tracing::error!(%error, "no keeper can be started: no container can be, and a shim that is killed now is lost");
                tokio::time::sleep(limits::KEEPER_RETRY).await;
            }
            shims.refill();
        });
    }

    /// Makes shims ahead, in the background.
    pub fn refill(self: &Arc<Self>) {
        let shims = self.clone();
        tasks::spawn("refill shims", async move {
            while shims.lock().len() < limits::STANDBY_SHIMS && !shims.is_ending.load(Ordering::Acquire) {
                match shims.spawn().await {
                    // The daemon ends: nobody would let this one go.
                    Ok(_) if shims.is_ending.load(Ordering::Acquire) => return,
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
        self.is_ending.store(true, Ordering::Release);
        let standby = std::mem::take(&mut *self.lock());
        for Newborn { link, left, .. } in standby {
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
    async fn spawn(self: &Arc<Self>) -> Result<Newborn, LinkError> {
        let keeper = self.keeper().await?;
        match self.spawn_by(keeper.clone()).await {
            Err(_) if keeper.is_gone() => {}
            // Killed by somebody: another is there at once. One that is slow has had its time.
            Err(LinkError::Unreachable(_)) => {}
            done => return done,
        }
        self.spawn_by(self.keeper().await?).await
    }

    async fn spawn_by(&self, keeper: Arc<Connection>) -> Result<Newborn, LinkError> {
        let unreachable = |e: io::Error| LinkError::Unreachable(format!("cannot be started: {e}"));
        let (ours, theirs) = StdStream::pair().map_err(unreachable)?;
        let born = keeper.spawn(theirs.into()).await;
        if matches!(born, Err(LinkError::Silent { .. })) {
            keeper.give_up().await;
        }
        let (pid, handle) = born?;
        let greeted = ShimLink::greet(ours, limits::SHIM_ANSWER).await;
        // It alone, and not the keeper, which has answered and holds all the others.
        if let Err(error) = &greeted {
            tracing::warn!(%error, pid, "a newborn shim that cannot be used is killed");
            if let Err(error) = handle.kill() {
                tracing::warn!(%error, pid, "it cannot be killed");
            }
        }
        let link = greeted?;
        let left = tasks::spawn("see a shim leave", async move { drop(handle.ended().await) });
        Ok(Newborn { link, left, keeper })
    }

    /// What the keeper tells unasked.
    fn told(self: &Arc<Self>, what: What) {
        let What::Replaced(news) = what else { return };
        let (id, how, replaced) = (news.container_id, news.how, news.replaced);
        if news.lost {
            tracing::error!(
                id,
                how,
                replaced,
                "a shim was killed, and no other can take its place: the container is lost"
            );
        } else if news.cut {
            tracing::warn!(
                id,
                pid = news.shim_pid,
                "a shim does not speak with the keeper; it is brought to it again"
            );
            self.bring(RunDir::new(self.run_dirs.join(&id)));
        } else {
            tracing::warn!(
                id,
                how,
                replaced,
                pid = news.shim_pid,
                "a shim was killed; another one is in its place"
            );
        }
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
