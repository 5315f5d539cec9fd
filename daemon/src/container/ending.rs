//! The end of a procedure, as its owner hears of it.
//!
//! Never: carries out what it says.

use protocol::{exit_record::ExitRecord, shim};

use super::{ContainerError, Resources, User, lifecycle::Event};
use crate::shims::ShimLink;

/// The end of a procedure.
#[derive(Debug, Default)]
pub(super) struct Ending {
    pub(super) event: Option<Event>,
    pub(super) error: Option<ContainerError>,
    pub(super) exit: Option<ExitRecord>,
    pub(super) running: Option<(ShimLink, i64, i32)>,
    pub(super) updated: Option<Result<Resources, ContainerError>>,
    pub(super) user: Option<User>,
}

impl Ending {
    pub(super) fn of(event: Event) -> Self {
        Self { event: Some(event), ..Self::default() }
    }

    pub(super) fn created(user: User) -> Self {
        Self { event: Some(Event::CreateDone), user: Some(user), ..Self::default() }
    }

    pub(super) fn nothing() -> Self {
        Self::default()
    }

    pub(super) fn updated(result: Result<Resources, ContainerError>) -> Self {
        Self { updated: Some(result), ..Self::default() }
    }

    pub(super) fn failed(event: Event, error: ContainerError) -> Self {
        Self { event: Some(event), error: Some(error), ..Self::default() }
    }

    pub(super) fn exited(record: ExitRecord) -> Self {
        Self { event: Some(Event::Exited), exit: Some(record), ..Self::default() }
    }

    /// It was started and has ended since; how, its record says.
    pub(super) fn started_and_over() -> Self {
        Self::of(Event::StartDone)
    }

    pub(super) fn running(link: ShimLink, state: &shim::State) -> Self {
        let running = Some((link, state.started_at, state.init_pid));
        Self { event: Some(Event::StartDone), running, ..Self::default() }
    }
}
