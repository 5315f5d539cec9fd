//! The owner task of one container: it alone changes it, driven by the machine in `lifecycle`.
//!
//! An owner never waits: procedures are child tasks whose ends are events. Owns: the state, the waiting
//! callers, the timers. Never: does the work itself.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use protocol::{exit_record::ExitRecord, shim};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    ContainerError, ContainerFacts, Containers, Parts, View,
    create::{self, CreateWork},
    kill,
    lifecycle::{Effect, Event, State, step},
    lost, reclaim, start,
    watch::{News, watch as watch_shim},
};
use crate::{limits, shims::ShimLink, tasks, tickets::Tickets};

type Answer = oneshot::Sender<Result<(), ContainerError>>;

/// How an owner begins.
#[derive(Debug)]
pub enum Adopted {
    /// A new container: run the create procedure.
    New(CreateWork),
    /// Half-made: reclaim it.
    HalfMade,
    /// Made whole, never started.
    Created,
    /// Its start was begun by a former daemon.
    Starting(ShimLink),
    /// It lives.
    Running(ShimLink, Box<shim::State>),
    /// Its shim holds the lock and does not answer.
    Silent,
    /// It has ended.
    Exited(ExitRecord),
}

/// The end of a procedure.
#[derive(Debug, Default)]
pub(super) struct Ending {
    event: Option<Event>,
    pub(super) error: Option<ContainerError>,
    pub(super) exit: Option<ExitRecord>,
    running: Option<(ShimLink, i64, i32)>,
}

impl Ending {
    pub(super) fn of(event: Event) -> Self {
        Self { event: Some(event), ..Self::default() }
    }

    pub(super) fn nothing() -> Self {
        Self::default()
    }

    pub(super) fn failed(event: Event, error: ContainerError) -> Self {
        Self { event: Some(event), error: Some(error), ..Self::default() }
    }

    pub(super) fn exited(record: ExitRecord) -> Self {
        Self { event: Some(Event::Exited), exit: Some(record), ..Self::default() }
    }

    pub(super) fn running(link: ShimLink, state: &shim::State) -> Self {
        let running = Some((link, state.started_at, state.init_pid));
        Self { event: Some(Event::StartDone), running, ..Self::default() }
    }
}

#[derive(Debug)]
enum Message {
    Ask(Event, Option<Duration>, Answer),
    Ended(Ending),
    Shim(News),
    GraceOver(u64),
}

/// A handle: ask through it, read by it.
#[derive(Debug, Clone)]
pub struct Container {
    /// What was asked for.
    pub facts: Arc<ContainerFacts>,
    inbox: mpsc::Sender<Message>,
    view: watch::Receiver<View>,
    /// Turns of ExecSync calls.
    pub(super) execs: Arc<Semaphore>,
}

impl Container {
    /// Starts the owner.
    pub(super) fn spawn(
        facts: ContainerFacts,
        adopted: Adopted,
        parts: Arc<Parts>,
        registry: Containers,
    ) -> Self {
        let (inbox, messages) = mpsc::channel(limits::INBOX);
        let facts = Arc::new(facts);
        let (publish, view) = watch::channel(first_view(&adopted));
        let handle = Self { facts: facts.clone(), inbox: inbox.clone(), view, execs: turns() };
        let now = view_of(&publish);
        let owner = Owner {
            view: now,
            facts,
            parts,
            registry,
            inbox,
            publish,
            deferred: BTreeSet::new(),
            created: Tickets::default(),
            start: Tickets::default(),
            stop: Tickets::default(),
            remove: Tickets::default(),
            error: None,
            grace_until: None,
            grace_round: 0,
            killing: false,
        };
        tasks::spawn("container owner", owner.run(adopted, messages));
        handle
    }

    /// The container now.
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }

    async fn ask(&self, event: Event, grace: Option<Duration>) -> Option<Result<(), ContainerError>> {
        let (answer, answered) = oneshot::channel();
        self.inbox.send(Message::Ask(event, grace, answer)).await.ok()?;
        answered.await.ok()
    }

    fn gone(&self) -> Result<(), ContainerError> {
        Err(ContainerError::NotFound(self.facts.id.clone()))
    }

    /// Waits until it is made.
    pub async fn await_created(&self) -> Result<(), ContainerError> {
        self.ask(Event::AwaitCreated, None).await.unwrap_or_else(|| self.gone())
    }

    /// Starts its program.
    pub async fn start(&self) -> Result<(), ContainerError> {
        self.ask(Event::AskStart, None).await.unwrap_or_else(|| self.gone())
    }

    /// Asks it to end, and kills it when the grace period is over.
    pub async fn stop(&self, grace: Duration) -> Result<(), ContainerError> {
        self.ask(Event::AskStop, Some(grace)).await.unwrap_or(Ok(()))
    }

    /// Removes all of it, alive or not.
    pub async fn remove(&self) -> Result<(), ContainerError> {
        self.ask(Event::AskRemove, None).await.unwrap_or(Ok(()))
    }
}

fn turns() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limits::EXECS_PER_CONTAINER))
}

fn view_of(publish: &watch::Sender<View>) -> View {
    publish.borrow().clone()
}

fn first_view(adopted: &Adopted) -> View {
    let mut view =
        View { state: State::Creating, visible: true, started_at: 0, init_pid: 0, link: None, exit: None };
    match adopted {
        Adopted::New(_) => view.visible = false,
        Adopted::HalfMade => (view.state, view.visible) = (State::Reclaiming, false),
        Adopted::Created => view.state = State::Created,
        Adopted::Starting(link) => (view.state, view.link) = (State::Starting, Some(link.clone())),
        Adopted::Running(link, state) => {
            view.state = State::Running;
            (view.started_at, view.init_pid) = (state.started_at, state.init_pid);
            view.link = Some(link.clone());
        }
        Adopted::Silent => view.state = State::Unknown,
        Adopted::Exited(record) => {
            (view.state, view.started_at) = (State::Exited, record.started_at);
            view.exit = Some(record.clone());
        }
    }
    view
}

struct Owner {
    facts: Arc<ContainerFacts>,
    view: View,
    parts: Arc<Parts>,
    registry: Containers,
    inbox: mpsc::Sender<Message>,
    publish: watch::Sender<View>,
    deferred: BTreeSet<Event>,
    created: Tickets<ContainerError>,
    start: Tickets<ContainerError>,
    stop: Tickets<ContainerError>,
    remove: Tickets<ContainerError>,
    /// How the last procedure failed.
    error: Option<ContainerError>,
    /// When the grace period ends: the earliest that any caller asked for.
    grace_until: Option<Instant>,
    /// Tells the timer that counts from one that was replaced.
    grace_round: u64,
    /// A kill procedure runs.
    killing: bool,
}

impl Owner {
    async fn run(mut self, adopted: Adopted, mut messages: mpsc::Receiver<Message>) {
        let (facts, parts) = (self.facts.clone(), self.parts.clone());
        match adopted {
            Adopted::New(work) => self.begin(create::create(facts, parts, work)),
            Adopted::HalfMade => self.begin(reclaim::reclaim(facts, parts)),
            Adopted::Starting(link) => self.begin(start::resume(facts, parts, link)),
            Adopted::Running(link, _) => self.follow(Some(link)),
            Adopted::Silent => self.follow(None),
            Adopted::Created | Adopted::Exited(_) => {}
        }
        while self.view.state != State::Gone {
            let Some(message) = messages.recv().await else { return };
            self.receive(message);
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Ask(event, grace, answer) => {
                if let Some(grace) = grace {
                    let until = Instant::now() + grace;
                    self.grace_until = Some(self.grace_until.map_or(until, |before| before.min(until)));
                }
                match event {
                    Event::AskStart => self.start.add(answer),
                    Event::AskStop => self.stop.add(answer),
                    Event::AskRemove => self.remove.add(answer),
                    _ => self.created.add(answer),
                }
                self.handle(event);
            }
            Message::Ended(ending) => self.ended(ending),
            Message::Shim(News::Exited(record)) => {
                self.exited(record);
                self.handle(Event::Exited);
            }
            Message::Shim(News::Silent) => self.handle(Event::ShimSilent),
            Message::Shim(News::Back(link, state)) => {
                self.view.link = Some(link);
                (self.view.started_at, self.view.init_pid) = (state.started_at, state.init_pid);
                self.handle(Event::ShimBack);
                self.publish();
            }
            Message::GraceOver(round) if round == self.grace_round => self.handle(Event::GraceOver),
            Message::GraceOver(_) => {}
        }
    }

    fn ended(&mut self, ending: Ending) {
        self.error = ending.error.or(self.error.take());
        if let Some(record) = ending.exit {
            self.exited(record);
        }
        if let Some((link, started_at, init_pid)) = ending.running {
            self.view.link = Some(link.clone());
            (self.view.started_at, self.view.init_pid) = (started_at, init_pid);
            self.follow(Some(link));
        }
        if ending.event == Some(Event::StartUnknown) {
            self.follow(None);
        }
        match ending.event {
            Some(event) => self.handle(event),
            None => self.killing = false,
        }
    }

    fn exited(&mut self, record: ExitRecord) {
        if record.started_at != 0 {
            self.view.started_at = record.started_at;
        }
        // The first word counts: once ended, how it ended never changes.
        self.view.exit.get_or_insert(record);
        self.view.link = None;
        self.view.init_pid = 0;
    }

    fn publish(&self) {
        self.publish.send_replace(self.view.clone());
    }

    fn handle(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let before = self.view.state;
            let (after, effects) = step(before, event);
            tracing::debug!(id = %self.facts.id, ?before, ?event, ?after, "container");
            self.view.state = after;
            // Those who waited for this hear of the failure; their questions are not asked again for nobody.
            if effects.iter().any(|e| matches!(e, Effect::AnswerStopFailed | Effect::AnswerRemoveFailed)) {
                self.deferred.retain(|event| !matches!(event, Event::AskStop | Event::AskRemove));
            }
            if after != before {
                self.view.visible |= after == State::Created;
                events.extend(std::mem::take(&mut self.deferred));
                self.publish();
            }
            for effect in effects {
                self.carry_out(effect, event);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect, event: Event) {
        let (facts, parts) = (self.facts.clone(), self.parts.clone());
        match effect {
            Effect::Defer => drop(self.deferred.insert(event)),
            Effect::AnswerCreated => self.created.answer(&Ok(())),
            Effect::AnswerCreateFailed => {
                self.registry.free_name(&facts);
                self.created.answer(&self.failure());
            }
            Effect::BeginStart => self.begin(start::start(facts, parts)),
            Effect::AnswerStarted => self.start.answer(&Ok(())),
            Effect::AnswerStartFailed => self.start.answer(&self.failure()),
            Effect::RefuseStart => {
                let (id, state) = (facts.id.clone(), self.view.word());
                self.start.answer(&Err(ContainerError::State { id, state, what: "started" }));
            }
            Effect::SendStopSignal => self.send_stop_signal(),
            Effect::ShortenGrace => self.arm_grace(),
            Effect::Kill => self.kill(),
            Effect::RecordNeverStarted => self.begin(async move {
                match lost::record_never_started(&facts, &parts).await {
                    Ok(record) => Ending::exited(record),
                    Err(e) => Ending::failed(
                        Event::RecordFailed,
                        ContainerError::step(&facts.id, "container.never_started", e),
                    ),
                }
            }),
            Effect::AnswerStopped => {
                self.grace_until = None;
                self.stop.answer(&Ok(()));
            }
            Effect::AnswerStopFailed => {
                (self.killing, self.grace_until) = (false, None);
                let failure = self.failure();
                self.stop.answer(&failure);
                self.remove.answer(&failure);
            }
            Effect::BeginReclaim => self.begin(reclaim::reclaim(facts, parts)),
            Effect::AnswerRemoved => {
                self.registry.forget(&facts);
                self.remove.answer(&Ok(()));
            }
            Effect::AnswerRemoveFailed => {
                let failure = self.failure();
                self.remove.answer(&failure);
            }
        }
    }

    fn failure(&self) -> Result<(), ContainerError> {
        Err(self.error.clone().unwrap_or_else(|| ContainerError::NotFound(self.facts.id.clone())))
    }

    fn send_stop_signal(&mut self) {
        let now = self.grace_until.is_none_or(|until| until <= Instant::now());
        if let Some(link) = self.view.link.clone().filter(|_| !now) {
            let (signal, id) = (self.facts.stop_signal, self.facts.id.clone());
            let mut view = self.publish.subscribe();
            tasks::spawn("stop signal", async move {
                let Err(error) = link.signal(signal).await else { return };
                tracing::warn!(%id, %error, "the stop signal was not sent; the grace period goes on");
                // The connection broke; the watcher makes another one, and the signal goes there, once.
                if view.changed().await.is_err() {
                    return;
                }
                let again = view.borrow().link.clone();
                if let Some(link) = again
                    && let Err(error) = link.signal(signal).await
                {
                    tracing::warn!(%id, %error, "the stop signal was not sent on a new connection either");
                }
            });
        }
        self.arm_grace();
    }

    fn arm_grace(&mut self) {
        self.grace_round += 1;
        let (round, inbox) = (self.grace_round, self.inbox.clone());
        let until = self.grace_until.unwrap_or_else(Instant::now);
        tasks::spawn("grace period", async move {
            tokio::time::sleep_until(until).await;
            drop(inbox.send(Message::GraceOver(round)).await);
        });
    }

    fn kill(&mut self) {
        if std::mem::replace(&mut self.killing, true) {
            return;
        }
        let (facts, parts) = (self.facts.clone(), self.parts.clone());
        self.begin(kill::kill(facts, parts, self.view.link.clone(), self.publish.subscribe()));
    }

    /// Starts a procedure; its end comes back as a message.
    fn begin(&self, procedure: impl Future<Output = Ending> + Send + 'static) {
        let inbox = self.inbox.clone();
        tasks::spawn("container procedure", async move {
            let ending = procedure.await;
            drop(inbox.send(Message::Ended(ending)).await);
        });
    }

    /// Follows the shim.
    fn follow(&self, link: Option<ShimLink>) {
        let inbox = self.inbox.clone();
        let tell = move |news| {
            let inbox = inbox.clone();
            async move { inbox.send(Message::Shim(news)).await.is_ok() }
        };
        tasks::spawn("shim watcher", watch_shim(self.facts.clone(), self.parts.clone(), link, tell));
    }
}
