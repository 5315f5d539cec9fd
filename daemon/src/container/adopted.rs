//! How an owner begins: with a new container, or with what a former daemon left.
//!
//! Owns: the first view. Never: looks anything up.

use protocol::{exit_record::ExitRecord, shim};

use super::{View, create::CreateWork, lifecycle::State};
use crate::shims::ShimLink;

/// How an owner begins.
#[derive(Debug)]
pub enum Adopted {
    /// A new container: run the create procedure.
    New(CreateWork),
    /// Half-made: reclaim it.
    HalfMade,
    /// Made whole, never started.
    Created,
    /// Its start was begun by a former daemon.
    Starting(ShimLink),
    /// It lives.
    Running(ShimLink, Box<shim::State>),
    /// Its shim holds the lock and does not answer.
    Silent,
    /// It has ended.
    Exited(ExitRecord),
}

impl Adopted {
    /// The container as it shows before anything happens.
    pub(super) fn view(&self, mut view: View) -> View {
        match self {
            Self::New(_) => view.visible = false,
            Self::HalfMade => (view.state, view.visible) = (State::Reclaiming, false),
            Self::Created => view.state = State::Created,
            Self::Starting(link) => (view.state, view.link) = (State::Starting, Some(link.clone())),
            Self::Running(link, state) => {
                view.state = State::Running;
                (view.started_at, view.init_pid) = (state.started_at, state.init_pid);
                view.link = Some(link.clone());
            }
            Self::Silent => view.state = State::Unknown,
            Self::Exited(record) => {
                (view.state, view.started_at) = (State::Exited, record.started_at);
                view.exit = Some(record.clone());
            }
        }
        view
    }
}
