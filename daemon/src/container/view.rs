//! What everyone may see of a container: a snapshot its owner publishes.
//!
//! Never: changes by itself.

use std::sync::Arc;

use protocol::exit_record::{ExitRecord, ExitStatus};

use super::{Resources, User, lifecycle::State};
use crate::shims::ShimLink;

/// A container as it is now.
#[derive(Debug, Clone)]
pub struct View {
    /// Where it is in its life.
    pub state: State,
    /// It was made whole once: it shows in lists until it is gone.
    pub visible: bool,
    /// When its program was started, in nanoseconds since the epoch; 0: not yet.
    pub started_at: i64,
    /// Its init process's id, to show; 0: none.
    pub init_pid: i32,
    /// Who its first process is; root's numbers until it is made.
    pub user: Arc<User>,
    /// Its shim.
    pub link: Option<ShimLink>,
    /// How it ended.
    pub exit: Option<ExitRecord>,
    /// The limits that count now.
    pub resources: Arc<Resources>,
}

impl View {
    /// Of one that is being made.
    pub(super) fn new(resources: Resources, user: User) -> Self {
        Self {
            state: State::Creating,
            visible: true,
            started_at: 0,
            init_pid: 0,
            user: Arc::new(user),
            link: None,
            exit: None,
            resources: Arc::new(resources),
        }
    }

    /// How it ended, in words; `None`: it has not.
    pub fn end(&self) -> Option<String> {
        let record = self.exit.as_ref()?;
        let why = if record.message.is_empty() { String::new() } else { format!(": {}", record.message) };
        let how = match &record.status {
            ExitStatus::Exited(code) => format!("exited with {code}"),
            ExitStatus::Signaled(signal) => format!("ended by signal {signal}"),
            ExitStatus::StartFailed => "its start failed".to_owned(),
            ExitStatus::NeverStarted => "never started".to_owned(),
            ExitStatus::Lost => "lost".to_owned(),
        };
        Some(format!("{how}{why}"))
    }

    /// The state in a word, for messages.
    pub fn word(&self) -> &'static str {
        match self.state {
            State::Creating => "being created",
            State::Created => "created",
            State::Starting => "being started",
            State::Running => "running",
            State::Stopping => "being stopped",
            State::Unknown => "in an unknown state (its shim does not answer)",
            State::Exited => "exited",
            State::Reclaiming => "being removed",
            State::Gone => "gone",
        }
    }
}
