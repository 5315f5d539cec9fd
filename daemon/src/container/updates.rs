//! The updates that wait for one container: carried out one at a time, in the order asked.
//!
//! Owns: the queue and who waits. Never: carries one out.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::{ContainerError, facts::Resources};

type Answer = oneshot::Sender<Result<(), ContainerError>>;

/// Updates of one container.
#[derive(Debug, Default)]
pub(super) struct Updates {
    waiting: VecDeque<(Resources, Answer)>,
    /// Who waits for the one that is under way.
    running: Option<Answer>,
    /// A start waits for its end.
    start_waits: bool,
}

impl Updates {
    /// Takes one more.
    pub(super) fn add(&mut self, asked: Resources, answer: Answer) {
        self.waiting.push_back((asked, answer));
    }

    /// The next one, unless one is under way; it is under way from now on.
    pub(super) fn next(&mut self) -> Option<Resources> {
        if self.running.is_some() {
            return None;
        }
        let (asked, answer) = self.waiting.pop_front()?;
        self.running = Some(answer);
        Some(asked)
    }

    /// Whether a start has to wait for the one that is under way; if so, [`Self::end`] tells when.
    pub(super) fn hold_start(&mut self) -> bool {
        self.start_waits = self.running.is_some();
        self.start_waits
    }

    /// The one under way has ended. Whether a start waits for that.
    pub(super) fn end(&mut self, result: Result<(), ContainerError>) -> bool {
        if let Some(answer) = self.running.take() {
            // A caller that has gone needs no answer.
            drop(answer.send(result));
        }
        std::mem::take(&mut self.start_waits)
    }

    /// Whether some wait.
    pub(super) fn wait(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Refuses all that wait.
    pub(super) fn refuse(&mut self, error: &ContainerError) {
        for (_, answer) in self.waiting.drain(..) {
            drop(answer.send(Err(error.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::Updates;
    use crate::container::{ContainerError, Resources};

    #[test]
    fn one_at_a_time_and_a_start_waits_for_it() {
        let mut updates = Updates::default();
        assert!(!updates.hold_start(), "nothing is under way");
        let (first, mut told) = oneshot::channel();
        let (second, mut refused) = oneshot::channel();
        updates.add(Resources { cpu_shares: 1, ..Resources::default() }, first);
        updates.add(Resources { cpu_shares: 2, ..Resources::default() }, second);
        assert_eq!(updates.next().map(|asked| asked.cpu_shares), Some(1));
        assert_eq!(updates.next(), None);
        assert!(updates.hold_start());
        assert!(updates.end(Ok(())), "the start goes on");
        assert_eq!(told.try_recv().unwrap(), Ok(()));
        assert!(updates.wait() && !updates.hold_start());
        updates.refuse(&ContainerError::NotFound("a".into()));
        assert!(refused.try_recv().unwrap().is_err() && !updates.wait());
    }
}
