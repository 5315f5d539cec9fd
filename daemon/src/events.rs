//! What happens to sandboxes and containers, told to whoever listens.
//!
//! Told after the change can be read, in the order in which it happened to each. Owns: the bounded queue; a
//! listener that falls behind loses its place and is told so. Never: waits for a listener.

use std::sync::Arc;

use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};

use crate::{clock, sandbox::SandboxFacts};

/// Events kept for the slowest listener: a node's pods all ending at once, some times over. An event is about a
/// hundred bytes.
const KEPT: usize = 4096;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Made whole.
    Created,
    /// It runs; a sandbox is ready.
    Started,
    /// It has ended; a sandbox is not ready any more.
    Stopped,
    /// Nothing of it is left.
    Deleted,
}

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Of a container, or of a sandbox where it is `sandbox_id`.
    pub id: String,
    /// Whose pod it happened in.
    pub sandbox_id: String,
    /// What was asked of the sandbox, where it is the sandbox's own event: it may be gone when this is read.
    pub sandbox: Option<Arc<SandboxFacts>>,
    /// What happened.
    pub kind: Kind,
    /// Nanoseconds since the epoch.
    pub at: i64,
}

/// The way from the owners to the listeners. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Events {
    told: broadcast::Sender<Event>,
    over: Arc<watch::Sender<bool>>,
}

/// One who listens.
#[derive(Debug)]
pub struct Listener {
    told: broadcast::Receiver<Event>,
    over: watch::Receiver<bool>,
}

/// Why a listener hears no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// It fell behind.
    #[error("{0} events were missed: the client reads too slowly; list again and listen anew")]
    Missed(u64),
    /// The daemon ends.
    #[error("the daemon is stopping; listen to the next one")]
    Over,
}

impl Default for Events {
    fn default() -> Self {
        Self { told: broadcast::Sender::new(KEPT), over: Arc::default() }
    }
}

impl Events {
    /// Tells of a container.
    pub fn container(&self, id: &str, sandbox_id: &str, kind: Kind) {
        self.tell(Event {
            id: id.to_owned(),
            sandbox_id: sandbox_id.to_owned(),
            sandbox: None,
            kind,
            at: clock::now_nanos(),
        });
    }

    /// Tells of a sandbox.
    pub fn sandbox(&self, facts: &Arc<SandboxFacts>, kind: Kind) {
        self.tell(Event {
            id: facts.id.clone(),
            sandbox_id: facts.id.clone(),
            sandbox: Some(facts.clone()),
            kind,
            at: clock::now_nanos(),
        });
    }

    fn tell(&self, event: Event) {
        // Nobody listens: fine.
        drop(self.told.send(event));
    }

    /// Listens from now on.
    pub fn listen(&self) -> Listener {
        Listener { told: self.told.subscribe(), over: self.over.subscribe() }
    }

    /// The daemon ends: nobody waits for more.
    pub fn end(&self) {
        self.over.send_replace(true);
    }
}

impl Listener {
    /// The next event.
    pub async fn next(&mut self) -> Result<Event, Ended> {
        tokio::select! {
            told = self.told.recv() => told.map_err(|error| match error {
                RecvError::Lagged(missed) => Ended::Missed(missed),
                RecvError::Closed => Ended::Over,
            }),
            _ = self.over.wait_for(|over| *over) => Err(Ended::Over),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ended, Events, KEPT, Kind};

    #[tokio::test]
    async fn a_listener_that_sleeps_holds_nobody_up_and_is_told() {
        let events = Events::default();
        let mut listener = events.listen();
        for _ in 0..=KEPT {
            events.container("a", "b", Kind::Started);
        }
        assert_eq!(listener.next().await.map(drop), Err(Ended::Missed(1)));
        assert_eq!(listener.next().await.map(|event| event.kind), Ok(Kind::Started));
    }

    #[tokio::test]
    async fn the_end_of_the_daemon_ends_the_waiting() {
        let events = Events::default();
        let mut listener = events.listen();
        events.end();
        assert_eq!(listener.next().await.map(drop), Err(Ended::Over));
        assert_eq!(events.listen().next().await.map(drop), Err(Ended::Over), "those who come late too");
    }
}
