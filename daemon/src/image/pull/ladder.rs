//! Which layers of an image are there while several are made at a time.
//!
//! Owns: the waiting of an upper layer for those below it. Never: waits for one that nobody makes: whoever gives
//! up its rung says so, by dropping it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    There,
    Failed,
}

/// The layers of one image, bottom first.
#[derive(Debug)]
pub(super) struct Ladder {
    rungs: Mutex<Vec<State>>,
    changed: Condvar,
}

/// The duty to make one layer.
#[derive(Debug)]
pub(super) struct Rung {
    ladder: Arc<Ladder>,
    height: usize,
}

/// A layer below will not come.
#[derive(Debug, thiserror::Error)]
#[error("layer {0} from below has failed")]
pub(super) struct Gone(usize);

impl Ladder {
    /// Of so many layers, none of them there.
    pub(super) fn new(layers: usize) -> Arc<Self> {
        Arc::new(Self { rungs: Mutex::new(vec![State::Open; layers]), changed: Condvar::new() })
    }

    /// The duty of one height; taken once.
    pub(super) fn rung(self: &Arc<Self>, height: usize) -> Rung {
        Rung { ladder: Arc::clone(self), height }
    }

    fn set(&self, height: usize, state: State) {
        let mut rungs = self.rungs.lock().unwrap_or_else(PoisonError::into_inner);
        if rungs[height] == State::Open {
            rungs[height] = state;
        }
        drop(rungs);
        self.changed.notify_all();
    }
}

impl Rung {
    /// Waits until every layer below is there. Blocking.
    pub(super) fn below(&self) -> Result<(), Gone> {
        let mut rungs = self.ladder.rungs.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let below = &rungs[..self.height];
            if let Some(gone) = below.iter().position(|state| *state == State::Failed) {
                return Err(Gone(gone));
            }
            if below.iter().all(|state| *state == State::There) {
                return Ok(());
            }
            rungs = self.ladder.changed.wait(rungs).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// It is there.
    pub(super) fn there(&self) {
        self.ladder.set(self.height, State::There);
    }
}

impl Drop for Rung {
    fn drop(&mut self) {
        self.ladder.set(self.height, State::Failed);
    }
}

#[cfg(test)]
mod tests {
    use super::Ladder;

    #[test]
    fn an_upper_layer_waits_and_is_told_of_failures() {
        let ladder = Ladder::new(3);
        let (bottom, middle, top) = (ladder.rung(0), ladder.rung(1), ladder.rung(2));
        assert!(bottom.below().is_ok());
        let waiting = std::thread::spawn(move || top.below().map_err(|gone| gone.to_string()));
        bottom.there();
        assert!(middle.below().is_ok());
        drop(middle);
        assert_eq!(waiting.join().unwrap(), Err("layer 1 from below has failed".to_owned()));
    }
}
