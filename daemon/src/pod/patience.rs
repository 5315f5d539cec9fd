//! How long a start waits for silent shims: as long as others still answer, and a little longer.
//!
//! Owns: that moment. Never: what silence means.

use std::time::Duration;

use tokio::{sync::watch, time::timeout};

use crate::limits::RECOVER_QUIET;

/// The wait for all looks.
#[derive(Debug)]
pub(super) struct Patience {
    /// How many looks have ended. When the last look drops its end, nobody is waited for.
    tell: watch::Sender<usize>,
    told: watch::Receiver<usize>,
    over: watch::Sender<bool>,
    quiet: Duration,
}

/// One look's share.
#[derive(Debug)]
pub(super) struct Waits {
    tell: watch::Sender<usize>,
    over: watch::Receiver<bool>,
}

impl Default for Patience {
    fn default() -> Self {
        Self::new(RECOVER_QUIET)
    }
}

impl Patience {
    fn new(quiet: Duration) -> Self {
        let (tell, told) = watch::channel(0);
        Self { tell, told, over: watch::channel(false).0, quiet }
    }

    /// For one more look.
    pub(super) fn waits(&self) -> Waits {
        Waits { tell: self.tell.clone(), over: self.over.subscribe() }
    }

    /// Waits until all looks have ended, or none has for some time; then those that still wait give up.
    pub(super) async fn run(self) {
        let Self { tell, mut told, over, quiet } = self;
        drop(tell);
        while let Ok(Ok(())) = timeout(quiet, told.changed()).await {}
        over.send_replace(true);
    }
}

impl Waits {
    /// Does this until it is done; `None`: the wait is over.
    pub(super) async fn until_over<F: Future>(mut self, work: F) -> Option<F::Output> {
        let over = async { self.over.wait_for(|over| *over).await.map(drop) };
        let done = tokio::select! {
            done = work => Some(done),
            // An error means that nobody waits any more, which comes to the same.
            _ = over => None,
        };
        self.tell.send_modify(|ended| *ended += 1);
        done
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Patience;

    #[tokio::test]
    async fn those_that_answer_are_waited_for_and_the_silent_one_is_not() {
        let patience = Patience::new(Duration::from_millis(200));
        let late = |ms| {
            let waits = patience.waits();
            async move { waits.until_over(tokio::time::sleep(Duration::from_millis(ms))).await.is_some() }
        };
        let (one, two, three) = (late(120), late(240), late(360));
        let waits = patience.waits();
        let silent = async move { waits.until_over(std::future::pending::<()>()).await.is_none() };
        let ((), one, two, three, given_up) = tokio::join!(patience.run(), one, two, three, silent);
        assert!(one && two && three && given_up, "{one} {two} {three} {given_up}");
        // Nobody to wait for.
        Patience::new(Duration::MAX).run().await;
    }
}
