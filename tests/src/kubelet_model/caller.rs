//! Calls as a kubelet makes them: each with a deadline that the daemon is told, some of them given up at random.
//!
//! Owns: how a call ended. Never: repeats one.

use std::{
    future::Future,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tonic::{Code, Response, Status};

use super::Truth;
use crate::{client::CriClient, random::Random};

/// A caller's patience where it gives a call up: from before the daemon has read it to beyond some of its steps.
const GIVEN_UP: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(30));
/// How long after its deadline a call may end: a second's tick.
const TICK: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug, Clone)]
pub enum Failed {
    /// The daemon, or the deadline, said no.
    Refused(Status),
    /// The caller went away.
    GivenUp,
}

/// Whoever calls.
#[derive(Debug)]
pub struct Caller {
    /// The socket.
    pub client: CriClient,
    /// What must be true of the answers.
    pub truth: Truth,
    /// Percent of calls that are given up.
    fickle: AtomicU64,
    random: Mutex<Random>,
    calls: AtomicU64,
    given_up: AtomicU64,
    refused: AtomicU64,
}

impl Caller {
    /// One that gives up so many calls of a hundred.
    pub fn new(client: CriClient, fickle: u64, seed: u64) -> Self {
        Self {
            client,
            truth: Truth::default(),
            fickle: AtomicU64::new(fickle),
            random: Mutex::new(Random::new(seed)),
            calls: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// From now on it waits for every answer.
    pub fn is_patient(&self) {
        self.fickle.store(0, Ordering::Relaxed);
    }

    /// Calls made, given up, and refused.
    pub fn counts(&self) -> (u64, u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.calls), read(&self.given_up), read(&self.refused))
    }

    fn patience(&self) -> Option<Duration> {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let gives_up = random.percent(self.fickle.load(Ordering::Relaxed));
        gives_up.then(|| random.between(GIVEN_UP.0, GIVEN_UP.1))
    }

    /// Waits for a call. `within`: the deadline that it was made with.
    pub async fn wait<T>(
        &self,
        name: &str,
        within: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failed> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let patience = self.patience();
        match tokio::time::timeout(patience.unwrap_or(within + TICK), call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                self.truth.failed(name, &status);
                Err(Failed::Refused(status))
            }
            Err(_) if patience.is_some() => {
                self.given_up.fetch_add(1, Ordering::Relaxed);
                Err(Failed::GivenUp)
            }
            Err(_) => {
                self.truth.late(name);
                Err(Failed::GivenUp)
            }
        }
    }

    /// Takes note of how an idempotent call ended. What was broken on purpose, or has no daemon, says nothing.
    pub fn idempotent<T>(&self, name: &str, id: &str, answer: &Result<T, Failed>) {
        match answer {
            Ok(_) => self.truth.idempotent(name, id, None),
            Err(Failed::Refused(status))
                if ![Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled].contains(&status.code())
                    && !status.message().contains("the failpoint ") =>
            {
                self.truth.idempotent(name, id, Some(status));
            }
            Err(_) => {}
        }
    }
}

/// One call with its deadline.
macro_rules! call {
    ($caller:expr, $method:ident, $within:expr, $request:expr) => {{
        let mut request = tonic::Request::new($request);
        request.set_timeout($within);
        let mut client = $caller.client.runtime();
        $caller.wait(stringify!($method), $within, async move { client.$method(request).await })
    }};
}
pub(super) use call;
