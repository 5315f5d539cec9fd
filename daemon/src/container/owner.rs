//! The owner task of one container: it alone changes it, driven by the machine in `lifecycle`.
//!
//! An owner never waits: procedures are child tasks whose ends are events. Owns: the state, the waiting
//! callers, the timers. Never: does the work itself.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use protocol::exit_record::ExitRecord;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{
    Adopted, ContainerError, ContainerFacts, Containers, Parts, Resources, View, create,
    ending::Ending,
    kill,
    lifecycle::{Effect, Event, State, step},
    lost, reclaim, start, update,
    updates::Updates,
    watch::{News, watch as watch_shim},
};
use crate::{events::Kind, limits, shims::ShimLink, steps, tasks, tickets::Tickets};

/// Where an answer goes.
pub(super) type Answer = oneshot::Sender<Result<(), ContainerError>>;

/// What an owner is told.
#[derive(Debug)]
pub(super) enum Message {
    /// A question, and who asks.
    Ask(Event, Option<Duration>, Answer),
    /// New limits, and who asks for them.
    Update(Box<Resources>, Answer),
    /// A procedure has ended.
    Ended(Box<Ending>),
    /// Something about the shim.
    Shim(News),
    /// The grace period of this round is over.
    GraceOver(u64),
}

/// The owner.
pub(super) struct Owner {
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
    updates: Updates,
    /// How the last procedure failed.
    error: Option<ContainerError>,
    /// When the grace period ends: the earliest that any caller asked for.
    grace_until: Option<Instant>,
    /// Tells the timer that counts from one that was replaced.
    grace_round: u64,
    /// The timer of this round.
    grace: Option<JoinHandle<()>>,
    /// A kill procedure runs.
    killing: bool,
}

impl Owner {
    /// Starts the task of a container.
    pub(super) fn spawn(
        facts: Arc<ContainerFacts>,
        adopted: Adopted,
        parts: Arc<Parts>,
        registry: Containers,
        publish: watch::Sender<View>,
    ) -> mpsc::Sender<Message> {
        let (inbox, messages) = mpsc::channel(limits::INBOX);
        let view = publish.borrow().clone();
        let owner = Self {
            view,
            facts,
            parts,
            registry,
            inbox: inbox.clone(),
            publish,
            deferred: BTreeSet::new(),
            created: Tickets::default(),
            start: Tickets::default(),
            stop: Tickets::default(),
            remove: Tickets::default(),
            updates: Updates::default(),
            error: None,
            grace_until: None,
            grace_round: 0,
            grace: None,
            killing: false,
        };
        tasks::spawn("container owner", owner.run(adopted, messages));
        inbox
    }

    async fn run(mut self, adopted: Adopted, mut messages: mpsc::Receiver<Message>) {
        let (facts, parts) = (self.facts.clone(), self.parts.clone());
        match adopted {
            Adopted::New(work) => self.begin("create", create::create(facts, parts, work)),
            Adopted::HalfMade => self.begin("remove", reclaim::reclaim(facts, parts)),
            Adopted::Starting(link) => self.begin("start", start::resume(facts, parts, link)),
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
            Message::Update(asked, answer) => {
                self.updates.add(*asked, answer);
                self.handle(Event::AskUpdate);
            }
            Message::Ended(mut ending) => match ending.updated.take() {
                Some(result) => self.updated(result),
                None => self.ended(*ending),
            },
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
        if let Some(error) = &ending.error {
            self.parts.operations.note(&self.facts.id, format!("failed: {error}"));
        }
        self.error = ending.error.or(self.error.take());
        if let Some(record) = ending.exit {
            self.exited(record);
        }
        if let Some(user) = ending.user {
            self.view.user = Arc::new(user);
        }
        // Nobody is known who would tell of it, though it runs or has run.
        let is_left = ending.running.is_none() && ending.event == Some(Event::StartDone);
        if is_left || ending.event == Some(Event::StartUnknown) {
            self.follow(None);
        }
        if let Some((link, started_at, init_pid)) = ending.running {
            self.view.link = Some(link.clone());
            (self.view.started_at, self.view.init_pid) = (started_at, init_pid);
            self.follow(Some(link));
        }
        match ending.event {
            Some(event) => self.handle(event),
            None => self.killing = false,
        }
    }

    fn updated(&mut self, result: Result<Resources, ContainerError>) {
        if let Ok(resources) = &result {
            self.view.resources = Arc::new(resources.clone());
            self.publish();
        }
        if self.updates.end(result.map(drop)) {
            self.carry_out(Effect::BeginStart, Event::AskStart);
        }
        if self.updates.wait() {
            self.handle(Event::AskUpdate);
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
                self.tell(before, after);
            }
            for effect in effects {
                self.carry_out(effect, event);
            }
        }
    }

    /// Tells those who listen, after the view shows it.
    fn tell(&self, before: State, after: State) {
        self.note(after);
        let kind = match (before, after) {
            (State::Creating, State::Created) => Kind::Created,
            (State::Starting, State::Running) => Kind::Started,
            (State::Reclaiming, State::Exited) => return,
            (_, State::Exited) => Kind::Stopped,
            (_, State::Gone) if self.view.visible => Kind::Deleted,
            _ => return,
        };
        self.parts.events.container(&self.facts.id, &self.facts.sandbox_id, kind);
    }

    /// What `taffrail explain` is to show of a change; the procedures tell of themselves.
    fn note(&self, after: State) {
        let what = match after {
            State::Exited => self.view.end(),
            State::Unknown => Some("its shim does not answer".to_owned()),
            State::Running => Some("running".to_owned()),
            State::Creating
            | State::Created
            | State::Starting
            | State::Stopping
            | State::Reclaiming
            | State::Gone => None,
        };
        if let Some(what) = what {
            self.parts.operations.note(&self.facts.id, what);
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
            // A start takes the limits that count then: never those of before an update that is under way.
            Effect::BeginStart if self.updates.hold_start() => {}
            Effect::BeginStart => {
                self.begin("start", start::start(facts, parts, self.view.resources.clone()))
            }
            Effect::BeginUpdate => {
                if let Some(asked) = self.updates.next() {
                    self.begin("update", update::update(facts, parts, self.view.clone(), asked));
                }
            }
            Effect::RefuseUpdate => {
                let (id, state) = (facts.id.clone(), self.view.word());
                self.updates.refuse(&ContainerError::State { id, state, what: "updated" });
            }
            Effect::AnswerStarted => self.start.answer(&Ok(())),
            Effect::AnswerStartFailed => self.start.answer(&self.failure()),
            Effect::RefuseStart => {
                let (id, state) = (facts.id.clone(), self.view.word());
                self.start.answer(&Err(ContainerError::State { id, state, what: "started" }));
            }
            Effect::SendStopSignal => self.send_stop_signal(),
            Effect::ShortenGrace => self.arm_grace(),
            Effect::Kill => self.kill(),
            Effect::RecordNeverStarted => self.begin("stop", async move {
                match lost::record_never_started(&facts, &parts).await {
                    Ok(record) => Ending::exited(record),
                    Err(e) => Ending::failed(
                        Event::RecordFailed,
                        ContainerError::step(&facts.id, "container.lost", e),
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
            Effect::BeginReclaim => self.begin("remove", reclaim::reclaim(facts, parts)),
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
        let left = until.saturating_duration_since(Instant::now());
        let mut view = self.publish.subscribe();
        let wait = async move {
            let ended = view.wait_for(|view| view.exit.is_some());
            let over = steps::step("container.grace", tokio::time::timeout_at(until, ended)).await.is_err();
            if over {
                drop(inbox.send(Message::GraceOver(round)).await);
            }
        };
        let wait = self.parts.operations.run_patiently(&self.facts.id, "stop", left, wait);
        // The one of an earlier round would say nothing new.
        if let Some(before) = self.grace.replace(tasks::spawn("grace period", wait)) {
            before.abort();
        }
    }

    fn kill(&mut self) {
        if std::mem::replace(&mut self.killing, true) {
            return;
        }
        let (facts, parts) = (self.facts.clone(), self.parts.clone());
        self.begin("kill", kill::kill(facts, parts, self.view.link.clone(), self.publish.subscribe()));
    }

    /// Starts a procedure; its end comes back as a message.
    fn begin(&self, what: &'static str, procedure: impl Future<Output = Ending> + Send + 'static) {
        let inbox = self.inbox.clone();
        let procedure = self.parts.operations.run(&self.facts.id, what, procedure);
        tasks::spawn("container procedure", async move {
            let ending = procedure.await;
            drop(inbox.send(Message::Ended(Box::new(ending))).await);
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
