//! What a shim knows of its container, and how it says it: on the wire and in both records.
//!
//! Owns: times, failure, ending. Never: writes a file; decides.

use protocol::{
    exit_record::{ExitRecord, ExitStatus, cut},
    shim,
    status_record::StatusRecord,
};

use super::machine::State;
use crate::sys::pidfd::Ended;

/// The facts so far.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Grows with each change that is told.
    pub(crate) sequence: u64,
    /// Init's number; 0: none yet.
    pub(crate) init_pid: i32,
    /// When create succeeded, nanoseconds since the epoch; 0: not yet.
    pub(crate) created_at: i64,
    /// When start succeeded; 0: not yet.
    pub(crate) started_at: i64,
    /// How init ended, and when.
    pub(crate) ended: Option<(Ended, i64)>,
    /// Why create or start failed.
    pub(crate) failure: Option<shim::Failure>,
    /// Init was ended on request before it was started.
    pub(crate) never_started: bool,
    /// The exit record, when it is on disk.
    pub(crate) exit_record: Vec<u8>,
    /// How many shims of this container were killed before this one.
    pub(crate) replaced: u32,
}

impl Facts {
    /// Nothing known yet.
    pub(crate) fn new() -> Self {
        Self {
            sequence: 1,
            init_pid: 0,
            created_at: 0,
            started_at: 0,
            ended: None,
            failure: None,
            never_started: false,
            exit_record: Vec::new(),
            replaced: 0,
        }
    }

    /// Notes why a step failed. The first reason counts.
    pub(crate) fn fail(&mut self, step: &str, message: &str, timed_out: bool) {
        self.failure.get_or_insert_with(|| failure(step, message, timed_out));
    }

    /// The state as it goes over the wire.
    pub(crate) fn state(&self, state: State, oom_kills: u32, lost: u64) -> shim::State {
        shim::State {
            sequence: self.sequence,
            phase: state.phase().into(),
            init_pid: self.init_pid,
            created_at: self.created_at,
            started_at: self.started_at,
            oom_kills,
            exit_record: if state == State::Exited { self.exit_record.clone() } else { Vec::new() },
            log_bytes_lost: lost,
            ..shim::State::default()
        }
    }

    /// The status record.
    pub(crate) fn status_record(&self) -> StatusRecord {
        StatusRecord {
            shim_pid: i32::try_from(std::process::id()).unwrap_or(0),
            init_pid: self.init_pid,
            created_at: self.created_at,
            started_at: self.started_at,
            generation: self.replaced,
        }
    }

    /// The exit record. `now`: the end, where init never was.
    pub(crate) fn exit_record(&self, oom_kills: u32, now: i64) -> ExitRecord {
        let (status, message) = match (&self.failure, self.ended) {
            (Some(failure), None) => (ExitStatus::StartFailed, failure.message.clone()),
            (Some(failure), Some((ended, _))) => {
                (ExitStatus::StartFailed, format!("{} (init: {})", failure.message, status(ended)))
            }
            (None, Some((ended, _))) if self.never_started => {
                (ExitStatus::NeverStarted, format!("stopped before it was started (init: {})", status(ended)))
            }
            (None, Some((Ended::Unknown, _))) => (
                ExitStatus::Lost,
                "its shim and the keeper were killed, and this kernel does not tell".into(),
            ),
            (None, Some((ended, _))) => (status(ended), String::new()),
            // The machine records only after one of the two.
            (None, None) => (ExitStatus::Lost, "the shim saw neither an end nor a failure".into()),
        };
        ExitRecord {
            status,
            at: self.ended.map_or(now, |(_, at)| at),
            started_at: self.started_at,
            oom_kills,
            message: cut(&message).to_owned(),
        }
    }
}

fn status(ended: Ended) -> ExitStatus {
    match ended {
        Ended::Code(code) => ExitStatus::Exited(code),
        Ended::Signal(signal) => ExitStatus::Signaled(signal),
        Ended::Unknown => ExitStatus::Lost,
    }
}

/// A failure as it goes over the wire.
pub(crate) fn failure(step: &str, message: &str, timed_out: bool) -> shim::Failure {
    shim::Failure { step: step.into(), message: cut(message).into(), timed_out, ..shim::Failure::default() }
}
