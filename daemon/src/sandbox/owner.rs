//! The owner task of one sandbox: it alone changes it, driven by the machine in `lifecycle`.
//!
//! An owner never waits: procedures are child tasks whose ends are events. Owns: the state, the waiting
//! callers. Never: does the work itself.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{OwnedRwLockReadGuard, RwLock, mpsc, oneshot, watch};

use super::{
    Parts, SandboxError, SandboxFacts, Sandboxes,
    lifecycle::{Effect, Event, State, step},
    reclaim, run, stop,
};
use crate::{events::Kind, limits, tasks, tickets::Tickets};

type Answer = oneshot::Sender<Result<(), SandboxError>>;

#[derive(Debug)]
enum Message {
    Ask(Event, Answer),
    Ended(Event, Option<SandboxError>),
}

/// A handle: ask through it, read by it.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// What was asked for.
    pub facts: Arc<SandboxFacts>,
    inbox: mpsc::Sender<Message>,
    state: watch::Receiver<State>,
    /// It was made whole once: it shows in lists until it is gone.
    made: Arc<AtomicBool>,
    /// Somebody follows its first process.
    followed: Arc<AtomicBool>,
    /// True while containers may be made. Read by a lease, written by the stop of a pod.
    gate: Arc<RwLock<bool>>,
}

/// The right to make a container in a ready sandbox; its stop waits until the lease is dropped.
#[derive(Debug)]
pub struct Lease(#[allow(dead_code, reason = "held for its drop")] OwnedRwLockReadGuard<bool>);

impl Sandbox {
    /// Starts the owner.
    pub(super) fn spawn(facts: SandboxFacts, state: State, parts: Arc<Parts>, registry: Sandboxes) -> Self {
        let (inbox, messages) = mpsc::channel(limits::INBOX);
        let (publish, view) = watch::channel(state);
        let facts = Arc::new(facts);
        let handle = Self {
            facts: facts.clone(),
            inbox: inbox.clone(),
            state: view,
            made: Arc::new(AtomicBool::new(is_whole(state))),
            followed: Arc::default(),
            gate: Arc::new(RwLock::new(true)),
        };
        let owner = Owner {
            facts,
            state,
            made: handle.made.clone(),
            parts,
            registry,
            inbox,
            publish,
            deferred: BTreeSet::new(),
            ready: Tickets::default(),
            stop: Tickets::default(),
            remove: Tickets::default(),
            error: None,
        };
        tasks::spawn("sandbox owner", owner.run(messages));
        handle
    }

    /// The state now.
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// The duty to follow its first process: given to the first who asks.
    pub fn take_watch(&self) -> bool {
        !self.followed.swap(true, Ordering::AcqRel)
    }

    /// Whether it shows in lists.
    pub fn is_visible(&self) -> bool {
        self.made.load(Ordering::Acquire) && self.state() != State::Gone
    }

    /// Takes the right to make a container.
    pub async fn lease(&self) -> Result<Lease, SandboxError> {
        let open = self.gate.clone().read_owned().await;
        if *open && self.state() == State::Ready {
            Ok(Lease(open))
        } else {
            Err(SandboxError::NotReady(self.facts.id.clone()))
        }
    }

    /// No lease after this, and none that is still held.
    pub async fn close(&self) {
        *self.gate.write().await = false;
    }

    async fn ask(&self, event: Event) -> Option<Result<(), SandboxError>> {
        let (answer, answered) = oneshot::channel();
        self.inbox.send(Message::Ask(event, answer)).await.ok()?;
        answered.await.ok()
    }

    /// Waits until it is ready.
    pub async fn await_ready(&self) -> Result<(), SandboxError> {
        let gone = || Err(SandboxError::NotFound(self.facts.id.clone()));
        self.ask(Event::AwaitReady).await.unwrap_or_else(gone)
    }

    /// Takes down what makes it ready. Its containers have been stopped.
    pub async fn stop(&self) -> Result<(), SandboxError> {
        self.ask(Event::AskStop).await.unwrap_or(Ok(()))
    }

    /// Removes all of it. Its containers have been removed.
    pub async fn remove(&self) -> Result<(), SandboxError> {
        self.ask(Event::AskRemove).await.unwrap_or(Ok(()))
    }
}

fn is_whole(state: State) -> bool {
    match state {
        State::Ready | State::Stopping | State::Undone | State::NotReady => true,
        State::Creating | State::Reclaiming | State::Gone => false,
    }
}

struct Owner {
    facts: Arc<SandboxFacts>,
    state: State,
    made: Arc<AtomicBool>,
    parts: Arc<Parts>,
    registry: Sandboxes,
    inbox: mpsc::Sender<Message>,
    publish: watch::Sender<State>,
    deferred: BTreeSet<Event>,
    ready: Tickets<SandboxError>,
    stop: Tickets<SandboxError>,
    remove: Tickets<SandboxError>,
    /// How the last procedure failed.
    error: Option<SandboxError>,
}

impl Owner {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        match self.state {
            State::Creating => self.begin("run", run::run),
            State::Stopping => self.begin("stop", stop::stop),
            State::Reclaiming => self.begin("remove", reclaim::reclaim),
            State::Ready | State::Undone | State::NotReady | State::Gone => {}
        }
        while self.state != State::Gone {
            let Some(message) = messages.recv().await else { return };
            match message {
                Message::Ask(event, answer) => {
                    match event {
                        Event::AskStop => self.stop.add(answer),
                        Event::AskRemove => self.remove.add(answer),
                        _ => self.ready.add(answer),
                    }
                    self.handle(event);
                }
                Message::Ended(event, error) => {
                    if let Some(error) = &error {
                        self.parts.operations.note(&self.facts.id, format!("failed: {error}"));
                    }
                    self.error = error.or(self.error.take());
                    self.handle(event);
                }
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let before = self.state;
            let (after, effects) = step(before, event);
            tracing::debug!(id = %self.facts.id, ?before, ?event, ?after, "sandbox");
            self.state = after;
            // Those who waited for this hear of the failure; their questions are not asked again for nobody.
            if effects.iter().any(|e| matches!(e, Effect::AnswerStopFailed | Effect::AnswerRemoveFailed)) {
                self.deferred.retain(|event| !matches!(event, Event::AskStop | Event::AskRemove));
            }
            if after != before {
                self.made.fetch_or(is_whole(after), Ordering::AcqRel);
                events.extend(std::mem::take(&mut self.deferred));
                self.publish.send_replace(after);
                self.tell(before, after);
            }
            for effect in effects {
                self.carry_out(effect, event);
            }
        }
    }

    /// Tells those who listen, after the state can be read.
    fn tell(&self, before: State, after: State) {
        let kinds: &[Kind] = match (before, after) {
            (State::Creating, State::Ready) => &[Kind::Created, Kind::Started],
            (State::Reclaiming, State::Undone) => &[],
            (_, State::Undone | State::NotReady) => &[Kind::Stopped],
            (_, State::Gone) if self.made.load(Ordering::Acquire) => &[Kind::Deleted],
            _ => &[],
        };
        for kind in kinds {
            self.parts.events.sandbox(&self.facts, *kind);
        }
    }

    fn carry_out(&mut self, effect: Effect, event: Event) {
        let failed = || {
            let id = self.facts.id.clone();
            Err(self.error.clone().unwrap_or(SandboxError::NotFound(id)))
        };
        match effect {
            Effect::Defer => drop(self.deferred.insert(event)),
            Effect::AnswerReady => self.ready.answer(&Ok(())),
            Effect::AnswerRunFailed => {
                let failed = failed();
                self.registry.free_name(&self.facts);
                self.ready.answer(&failed);
            }
            Effect::RefuseReady => self.ready.answer(&Err(SandboxError::NotReady(self.facts.id.clone()))),
            Effect::BeginStop => self.begin("stop", stop::stop),
            Effect::AnswerStopped => self.stop.answer(&Ok(())),
            Effect::AnswerStopFailed => {
                let failed = failed();
                self.stop.answer(&failed);
                self.remove.answer(&failed);
            }
            Effect::BeginReclaim => self.begin("remove", reclaim::reclaim),
            Effect::AnswerRemoved => {
                self.registry.forget(&self.facts);
                self.remove.answer(&Ok(()));
            }
            Effect::AnswerRemoveFailed => {
                let failed = failed();
                self.remove.answer(&failed);
            }
        }
    }

    /// Starts a procedure; its end comes back as an event.
    fn begin<P, W>(&self, what: &'static str, procedure: P)
    where
        P: FnOnce(Arc<SandboxFacts>, Arc<Parts>) -> W,
        W: Future<Output = (Event, Option<SandboxError>)> + Send + 'static,
    {
        let work = procedure(self.facts.clone(), self.parts.clone());
        let work = self.parts.operations.run(&self.facts.id, what, work);
        let inbox = self.inbox.clone();
        tasks::spawn("sandbox procedure", async move {
            let (event, error) = work.await;
            // The owner outlives its procedures: it leaves only when it is gone, which a procedure tells.
            drop(inbox.send(Message::Ended(event, error)).await);
        });
    }
}
