//! The keeper: found where an earlier daemon left it, started where there is none, and started anew when it is killed.
//!
//! Owns: the connection to it. Never: holds what it holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use protobuf::Message;
use protocol::{
    keeper::{Empty, Greeting, Order, Report, order::What as Ask, report::What},
    keeperdir::KeeperDir,
    version,
};
use tokio::{process::Command, sync::oneshot};

use super::{
    LinkError,
    strays::{Stray, end_holders},
};
use crate::{
    cgroups::Cgroups,
    embedded::ShimProgram,
    limits, operations, steps,
    sys::{
        packets::{self, Packets},
        pidfd::PidFd,
    },
    tasks,
};

/// The way to the one keeper of this daemon's node.
#[derive(Debug)]
pub(super) struct Keeper {
    dir: KeeperDir,
    program: Arc<ShimProgram>,
    cgroups: Cgroups,
    /// Held for a moment only: whoever asks who is there never waits for one that is being started.
    place: Mutex<Option<Arc<Connection>>>,
    /// One looks for it or starts it at a time.
    turn: tokio::sync::Mutex<()>,
    /// The daemon ends.
    is_leaving: AtomicBool,
}

/// Who waits for which answer.
type Waiting = BTreeMap<u64, oneshot::Sender<(Report, Option<OwnedFd>)>>;

/// A conversation with one keeper.
#[derive(Debug)]
pub(super) struct Connection {
    packets: Packets,
    /// Its process id, to show.
    pub(super) pid: i32,
    waiting: Mutex<Waiting>,
    next: AtomicU64,
    is_gone: AtomicBool,
    /// Since when it leaves orders without an answer.
    silent: Mutex<Option<Instant>>,
}

fn unreachable(error: impl std::fmt::Display) -> LinkError {
    LinkError::Unreachable(format!("the keeper: {error}"))
}

impl Keeper {
    /// A keeper with its files in this folder.
    pub(super) fn new(state: PathBuf, program: Arc<ShimProgram>, cgroups: Cgroups) -> Self {
        Self {
            dir: KeeperDir::new(state),
            program,
            cgroups,
            place: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            is_leaving: AtomicBool::new(false),
        }
    }

    /// Whether no keeper is wanted any more.
    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Acquire)
    }

    /// The conversation with it; whether it is a new one.
    pub(super) async fn connection(&self) -> Result<(Arc<Connection>, bool), LinkError> {
        let _turn = self.turn.lock().await;
        if let Some(connection) = self.present() {
            return Ok((connection, false));
        }
        let connection = match self.find().await {
            Some(connection) => connection,
            None => self.start().await?,
        };
        *self.place() = Some(connection.clone());
        Ok((connection, true))
    }

    /// The conversation, where there is one. Never waits.
    pub(super) fn present(&self) -> Option<Arc<Connection>> {
        self.place().as_ref().filter(|connection| !connection.is_gone()).cloned()
    }

    fn place(&self) -> std::sync::MutexGuard<'_, Option<Arc<Connection>>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the conversation: a keeper with nothing to keep leaves then. Comes back when it has, or has no reason to.
    pub(super) async fn leave(&self) {
        self.is_leaving.store(true, Ordering::Release);
        let turn = self.turn.lock().await;
        if let Some(connection) = self.present() {
            tracing::debug!(kept = ?connection.kept().await, "the keeper may leave");
        }
        let Some(connection) = self.place().take() else { return };
        drop(turn);
        connection.close();
        // Reaped, not only ended: until then its cgroup cannot be removed. It stays where it keeps somebody; then nobody
        // waits for it.
        let gone = async {
            while let Ok(Some(handle)) = PidFd::open(connection.pid) {
                drop(handle.ended().await);
                tokio::time::sleep(limits::REAPED_LOOK).await;
            }
        };
        if tokio::time::timeout(limits::STANDBY_LEAVES, gone).await.is_err() {
            tracing::warn!(pid = connection.pid, "the keeper stays");
        }
    }

    /// One that an earlier daemon started. One that does not answer is killed: what it held is shown to the next.
    async fn find(&self) -> Option<Arc<Connection>> {
        let packets = Packets::connect(self.dir.path(), KeeperDir::SOCKET);
        let reached = packets.and_then(|packets| packets.peer().map(|pid| (packets, pid)));
        let Ok((packets, pid)) = reached else {
            // What it keeps can be brought to the next.
            let (cgroups, lock) = (self.cgroups.clone(), self.dir.lock());
            let end = move || end_holders(&cgroups, Stray::Keeper, &lock);
            if let Err(error) = tasks::blocking(tasks::Pool::Disk, end).await {
                tracing::warn!(%error, "it is not known whether a keeper runs that cannot be reached");
            }
            return None;
        };
        match Connection::greet(packets, &self.program).await {
            Ok(connection) => Some(connection),
            Err(error) => {
                tracing::warn!(%error, pid, "a keeper that does not answer is killed");
                if let Err(error) = tasks::blocking(tasks::Pool::Disk, move || kill_keeper(pid)).await {
                    tracing::warn!(%error, pid, "it cannot be killed");
                }
                None
            }
        }
    }

    async fn start(&self) -> Result<Arc<Connection>, LinkError> {
        steps::check("shim.keeper").map_err(unreachable)?;
        let (ours, theirs) = packets::pair().map_err(unreachable)?;
        let mut child = Command::new(self.program.path())
            .arg0("taffrail-keeper")
            .arg("keeper")
            .arg(self.dir.path())
            .env_clear()
            .envs(steps::environment())
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(unreachable)?;
        let cgroups = self.cgroups.clone();
        if let Some(pid) = child.id() {
            // Before it is told anything: its shims, and what they start, must be born in the right place.
            if let Err(error) = tasks::blocking(tasks::Pool::Disk, move || cgroups.place_shim(pid)).await {
                tracing::warn!(%error, "shims stay in the daemon's cgroup: what kills that cgroup kills them");
            }
        }
        let greeted = match Packets::new(ours) {
            Ok(packets) => Connection::greet(packets, &self.program).await,
            Err(error) => Err(unreachable(error)),
        };
        if greeted.is_err() {
            // The next try starts another. An error means that it has ended already.
            child.start_kill().ok();
        }
        // Reaps it when it leaves before the daemon does; it may well outlive us.
        tasks::spawn("reap keeper", async move { drop(child.wait().await) });
        let connection = greeted?;
        tracing::info!(pid = connection.pid, "the keeper was started");
        Ok(connection)
    }
}

impl Connection {
    /// It does not answer: it is killed, and is gone for all who ask from now on.
    pub(super) async fn give_up(self: &Arc<Self>) {
        if self.is_gone() {
            return;
        }
        let pid = self.pid;
        tracing::warn!(pid, "a keeper that does not answer is killed");
        if let Err(error) = tasks::blocking(tasks::Pool::Disk, move || kill_keeper(pid)).await {
            tracing::warn!(%error, pid, "it cannot be killed");
        }
        self.is_gone.store(true, Ordering::Release);
    }
}

fn kill_keeper(pid: i32) -> io::Result<()> {
    let Some(handle) = PidFd::open(pid)? else { return Ok(()) };
    let name = std::fs::read(format!("/proc/{pid}/comm"))?;
    if !name.starts_with(b"taffrail-keeper") {
        return Err(io::Error::other(format!("process {pid} is no keeper")));
    }
    handle.kill()?;
    handle.ends_within(limits::KEEPER_ANSWER).map(drop)
}

impl Connection {
    async fn greet(packets: Packets, program: &ShimProgram) -> Result<Arc<Self>, LinkError> {
        let mut hello = Greeting::new();
        (hello.lowest, hello.highest) = (version::KEEPER_LOWEST, version::KEEPER_HIGHEST);
        let order = Order { ticket: 1, what: Some(Ask::Hello(hello)), ..Order::default() };
        let work = async {
            packets.send(&order.write_to_bytes().map_err(unreachable)?, None).await.map_err(unreachable)?;
            let (packet, _) = packets.receive().await.map_err(unreachable)?;
            if packet.is_empty() {
                return Err(unreachable("it has left"));
            }
            Report::parse_from_bytes(&packet).map_err(unreachable)
        };
        let silent =
            |_| LinkError::Silent { call: "keeper hello", place: operations::still(limits::KEEPER_ANSWER) };
        let report = tokio::time::timeout(limits::KEEPER_ANSWER, work).await.map_err(silent)??;
        let Some(What::Hello(hello)) = report.what else {
            return Err(LinkError::Refused { call: "keeper hello", message: report.error });
        };
        // Shims are of our program from now on, whatever the keeper's own is. Its answer says nothing that matters.
        let order = Order { ticket: 2, what: Some(Ask::Program(Empty::new())), ..Order::default() };
        let packet = order.write_to_bytes().map_err(unreachable)?;
        packets.send(&packet, Some(program.descriptor())).await.map_err(unreachable)?;
        Ok(Arc::new(Self {
            packets,
            pid: hello.pid,
            waiting: Mutex::default(),
            next: AtomicU64::new(3),
            is_gone: AtomicBool::new(false),
            silent: Mutex::default(),
        }))
    }

    /// Ends it from this side.
    fn close(&self) {
        // An error means that it has ended already.
        self.packets.shutdown().ok();
    }

    /// Whether it has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    /// Hears it to its end; `news` gets what it tells unasked.
    pub(super) async fn hear(&self, news: impl Fn(What)) {
        while let Ok((packet, fd)) = self.packets.receive().await {
            if packet.is_empty() {
                break;
            }
            let Ok(mut report) = Report::parse_from_bytes(&packet) else { break };
            let waiting = self.waiting().remove(&report.ticket);
            match (waiting, report.what.take()) {
                (Some(waiting), what) => {
                    report.what = what;
                    // Whoever asked may have gone.
                    drop(waiting.send((report, fd)));
                }
                (None, Some(what)) => news(what),
                (None, None) => {}
            }
        }
        self.is_gone.store(true, Ordering::Release);
        self.waiting().clear();
    }

    async fn ask(
        &self,
        call: &'static str,
        what: Ask,
        beside: Option<BorrowedFd<'_>>,
    ) -> Result<(What, Option<OwnedFd>), LinkError> {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.waiting().insert(ticket, answer);
        let forget = Forget { connection: self, ticket };
        let order = Order { ticket, what: Some(what), ..Order::default() };
        let work = async {
            let packet = order.write_to_bytes().map_err(unreachable)?;
            self.packets.send(&packet, beside).await.map_err(unreachable)?;
            answered.await.map_err(|_| unreachable("it was killed"))
        };
        let silent = |_| LinkError::Silent { call, place: operations::still(limits::KEEPER_ANSWER) };
        let begun = Instant::now();
        let answer = tokio::time::timeout(limits::KEEPER_ANSWER, work).await;
        self.note_silence(answer.is_err().then_some(begun));
        let (report, fd) = answer.map_err(silent)??;
        drop(forget);
        match report.what {
            Some(what) if report.error.is_empty() => Ok((what, fd)),
            _ => Err(LinkError::Refused { call, message: report.error }),
        }
    }

    /// Starts a shim with this end of its first connection. Returns its process id and a handle to it.
    pub(super) async fn spawn(&self, theirs: OwnedFd) -> Result<(i32, PidFd), LinkError> {
        match self.ask("keeper spawn", Ask::Spawn(Empty::new()), Some(theirs.as_fd())).await? {
            (What::Born(pid), Some(fd)) => Ok((pid, PidFd::of(fd))),
            _ => Err(unreachable("it says nothing of a new shim")),
        }
    }

    /// Takes a shim on, at this end of a packet socket whose other end the shim gets.
    pub(super) async fn take(&self, ours: OwnedFd) -> Result<(), LinkError> {
        self.ask("keeper take", Ask::Take(Empty::new()), Some(ours.as_fd())).await.map(drop)
    }

    /// Kills a container's shim for good. Comes back when it is gone.
    pub(super) async fn forget(&self, id: &str) -> Result<(), LinkError> {
        self.ask("keeper forget", Ask::Forget(id.to_owned()), None).await.map(drop)
    }

    /// Ids of all containers that it keeps a shim for.
    pub(super) async fn kept(&self) -> Result<BTreeSet<String>, LinkError> {
        match self.ask("keeper look", Ask::Look(Empty::new()), None).await?.0 {
            What::Slots(slots) => Ok(slots.slots.into_iter().map(|slot| slot.container_id).collect()),
            _ => Err(unreachable("it says nothing of its shims")),
        }
    }

    /// It left an order without an answer that was given at this time; `None`: it has answered.
    fn note_silence(&self, begun: Option<Instant>) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        *silent = begun.map(|begun| silent.map_or(begun, |since| since.min(begun)));
    }

    /// Whether it has left orders without an answer for this long.
    pub(super) fn is_silent_for(&self, patience: Duration) -> bool {
        let silent = *self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.is_some_and(|since| since.elapsed() >= patience)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody waits for this answer any more.
struct Forget<'a> {
    connection: &'a Connection,
    ticket: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.connection.waiting().remove(&self.ticket);
    }
}
