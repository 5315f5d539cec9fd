//! The loop: waits for descriptors and deadlines, and passes on what happened.
//!
//! Owns: the order within a turn: output, calls, endings, time. Never: decides anything.

use std::time::Instant;

use nix::sys::signalfd::SignalFd;

use super::{machine::State, poll::Source, service::serve, supervisor::Supervisor};
use crate::fault::Fault;

/// Runs until the shim leaves.
pub(crate) fn run(shim: &mut Supervisor, children: &SignalFd) -> Result<(), Fault> {
    while shim.state != State::Left {
        let wait = shim.due().map(|at| at.saturating_duration_since(Instant::now()));
        for source in shim.poll.wait(wait)? {
            handle(shim, children, source);
            if shim.state == State::Left {
                return Ok(());
            }
        }
        shim.on_time(Instant::now());
        shim.settle();
    }
    Ok(())
}

fn handle(shim: &mut Supervisor, children: &SignalFd, source: Source) {
    match source {
        Source::Output(number) => {
            shim.pump.ready(number);
            // A process that is killed closes its files before it leaves its group, and systemd removes an empty group
            // at once: later there may be no counter.
            if shim.pump.has_ended() && shim.oom.look() {
                shim.publish();
            }
        }
        Source::Words(number) => shim.words.ready(&shim.poll, number),
        Source::Stdin => shim.stdin.ready(&shim.poll),
        Source::Feed(number) => {
            let scratch = shim.pump.scratch();
            shim.stdin.feed_ready(&shim.poll, number, scratch);
        }
        Source::Console => {
            if let Some(console) = &mut shim.console {
                console.ready(&shim.poll);
            }
            shim.hold_delivered();
        }
        Source::Oom => {
            if shim.oom.ready(&shim.poll, Instant::now()) {
                shim.publish();
            }
        }
        Source::Listener => shim.control.accept(&shim.poll),
        Source::Connection(number) => {
            let scratch = shim.pump.scratch();
            for (ticket, call) in shim.control.ready(&shim.poll, number, scratch) {
                serve(shim, ticket, call);
            }
        }
        Source::Keeper => shim.keeper_ready(),
        Source::Command | Source::Exec(_) | Source::Init => handle_end(shim, source),
        Source::Child => {
            while let Ok(Some(_)) = children.read_signal() {}
            shim.reaper.notice();
        }
    }
}

/// A process may have ended.
pub(crate) fn handle_end(shim: &mut Supervisor, source: Source) {
    match source {
        Source::Command => shim.command_ready(),
        Source::Exec(number) => {
            shim.with_execs(|execs, _, around| execs.ready(number, around));
        }
        Source::Init => {
            // First of all, since systemd removes the empty group as we speak.
            shim.oom.look();
            // What was written before the end is in the log before the end is told.
            shim.pump.ready_all();
            shim.init_ready();
        }
        _ => {}
    }
}
