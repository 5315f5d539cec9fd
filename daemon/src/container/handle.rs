//! The handle of one container: to ask through and to read by. Everyone has a copy (I1).
//!
//! Owns: the ways to the owner and to its view. Never: changes a container.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::{
    Adopted, ContainerError, ContainerFacts, Containers, Parts, Resources, View,
    lifecycle::Event,
    owner::{Message, Owner},
};
use crate::limits;

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
        view: View,
        parts: Arc<Parts>,
        registry: Containers,
    ) -> Self {
        let facts = Arc::new(facts);
        let (publish, view) = watch::channel(adopted.view(view));
        let inbox = Owner::spawn(facts.clone(), adopted, parts, registry, publish);
        let execs = Arc::new(Semaphore::new(limits::EXECS_PER_CONTAINER));
        Self { facts, inbox, view, execs }
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

    /// Changes its limits: all that is not zero or empty, or nothing.
    pub async fn update(&self, asked: Resources) -> Result<(), ContainerError> {
        let (answer, answered) = oneshot::channel();
        if self.inbox.send(Message::Update(Box::new(asked), answer)).await.is_err() {
            return self.gone();
        }
        answered.await.unwrap_or_else(|_| self.gone())
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
