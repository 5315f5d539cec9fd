//! Whose step is it? Each procedure and call runs with its own entry of the table at hand; steps find it there.
//!
//! Owns: the task's own entry. Never: needed by what a step does; outside an operation all of this does nothing.

use std::time::Duration;

use super::Operations;

tokio::task_local! {
    static CURRENT: Current;
}

/// The operation that a task works for.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) operations: Operations,
    pub(super) number: u64,
}

impl Current {
    /// Runs work as a part of this operation.
    pub(super) async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }
}

/// A step that is under way. Dropped: it has ended, or was given up.
#[derive(Debug)]
pub struct Place(Option<(Current, u64)>);

/// Enters a step of the operation that this task works for.
pub fn enter(step: &'static str) -> Place {
    let entered = CURRENT.try_with(|current| {
        let place = current.operations.enter(current.number, step);
        (current.clone(), place)
    });
    Place(entered.ok())
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((current, place)) = self.0.take() {
            current.operations.leave(current.number, place);
        }
    }
}

/// What the current step waits for, until the value is dropped.
#[derive(Debug)]
pub struct Waiting(Option<Current>);

/// Says what the current step waits for.
pub fn waiting(what: impl FnOnce() -> String) -> Waiting {
    let told = CURRENT.try_with(|current| {
        current.operations.waits(current.number, Some(what()));
        current.clone()
    });
    Waiting(told.ok())
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(current) = self.0.take() {
            current.operations.waits(current.number, None);
        }
    }
}

/// The sentence about a deadline that passes now: where this task is.
pub fn still(after: Duration) -> String {
    let sentence = CURRENT.try_with(|current| current.operations.still(current.number, after));
    sentence.unwrap_or_else(|_| format!("it was not done after {} s", after.as_secs_f64().round()))
}

/// As [`still`], of a step that was left a moment ago.
pub fn still_in(step: &'static str, after: Duration) -> String {
    let _place = enter_again(step);
    still(after)
}

/// As [`enter`]; it leaves no entry of the past.
fn enter_again(step: &'static str) -> Again {
    let entered = CURRENT.try_with(|current| {
        let place = current.operations.enter(current.number, step);
        (current.clone(), place)
    });
    Again(entered.ok())
}

struct Again(Option<(Current, u64)>);

impl Drop for Again {
    fn drop(&mut self) {
        if let Some((current, place)) = self.0.take() {
            current.operations.withdraw(current.number, place);
        }
    }
}

/// Lets work go on in another task as a part of the same operation.
pub fn carry<F: Future + Send>(work: F) -> impl Future<Output = F::Output> + Send
where
    F::Output: Send,
{
    let current = CURRENT.try_with(Current::clone).ok();
    async move {
        match current {
            Some(current) => current.scope(work).await,
            None => work.await,
        }
    }
}
