//! Questions that are owed exactly one answer.
//!
//! Owns: the waiting callers of one question. Never: the answer.

use tokio::sync::oneshot;

/// Those who wait for the same answer.
#[derive(Debug)]
pub struct Tickets<E>(Vec<oneshot::Sender<Result<(), E>>>);

impl<E> Default for Tickets<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<E: Clone> Tickets<E> {
    /// One more.
    pub fn add(&mut self, ticket: oneshot::Sender<Result<(), E>>) {
        // Callers that have gone away are dropped here, so that retries do not pile up.
        self.0.retain(|ticket| !ticket.is_closed());
        self.0.push(ticket);
    }

    /// Answers all.
    pub fn answer(&mut self, answer: &Result<(), E>) {
        for ticket in self.0.drain(..) {
            // A caller that went away needs no answer (I5).
            drop(ticket.send(answer.clone()));
        }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
