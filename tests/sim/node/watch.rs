//! The daemon follows the shim, as `container::watch` does.
//!
//! Never: kills anything that may still be supervised.

use super::world::{End, Made, Node, Steps, World};
use crate::machines::{
    container::Event,
    shim::{self as machine, State as S},
};

impl Node {
    /// What the watcher may notice next.
    pub fn watch_steps(&self, world: &World, steps: &mut Steps) {
        let Some(silent) = world.daemon.as_ref().and_then(|daemon| daemon.watch) else { return };
        let mut next = world.clone();
        match world.shim.as_ref().filter(|shim| shim.has_container) {
            Some(shim) if shim.silent => self.silence(next, silent, steps),
            Some(shim) if !shim.todo.is_empty() => {}
            Some(shim) if shim.state == S::Exited => {
                let Some(end) = next.disk.exit else { return };
                stop(&mut next);
                let heard = self.feed_shim(next, machine::Event::Dismiss);
                steps.push(("daemon: hears of the end", heard.and_then(|next| self.hear_exit(next, end))));
            }
            Some(shim) if silent => match shim.state {
                // The daemon that began this start died before it ended: it goes on.
                S::Created => {
                    steps.push(("daemon: goes on with a start", self.feed_shim(next, machine::Event::Start)));
                }
                S::Running | S::Draining | S::Recording => {
                    if let Some(daemon) = &mut next.daemon {
                        (daemon.watch, daemon.link) = (Some(false), true);
                    }
                    steps.push(("daemon: the shim is back", self.handle(next, Event::ShimBack)));
                }
                _ => {}
            },
            Some(_) => {}
            None => self.nobody(next, silent, steps),
        }
    }

    fn silence(&self, mut next: World, silent: bool, steps: &mut Steps) {
        if let (Some(end), true) = (next.disk.exit, silent) {
            stop(&mut next);
            steps.push(("daemon: finds an exit record", self.hear_exit(next, end)));
            return;
        }
        // Told each time: a kill that failed meanwhile has taken it for running.
        let is_news = !silent
            || next.daemon.as_ref().is_some_and(|d| d.state == crate::machines::container::State::Running);
        if is_news {
            if let Some(daemon) = &mut next.daemon {
                (daemon.watch, daemon.link) = (Some(true), false);
            }
            steps.push(("daemon: the shim is silent", self.handle(next, Event::ShimSilent)));
        }
    }

    fn nobody(&self, mut next: World, silent: bool, steps: &mut Steps) {
        if let Some(end) = next.disk.exit {
            stop(&mut next);
            steps.push(("daemon: finds an exit record", self.hear_exit(next, end)));
        } else if next.disk.made == Made::Nothing && next.held.is_none() {
            // Somebody else recorded its end, and it was removed.
            stop(&mut next);
            steps.push(("daemon: nothing is left to follow", Ok(next)));
        } else if next.is_locked() {
            self.silence(next, silent, steps);
        } else if !next.disk.status {
            // It was never begun.
            stop(&mut next);
            let failed = next.write_exit(End::StartFailed, None);
            let heard = failed.and_then(|()| self.hear_exit(next, End::StartFailed));
            steps.push(("daemon: records that the start came to nothing", heard));
        } else {
            let lost = next.record_lost(self.ends_commands);
            stop(&mut next);
            steps.push(("daemon: records the loss", lost.and_then(|end| self.hear_exit(next, end))));
        }
    }
}

fn stop(world: &mut World) {
    if let Some(daemon) = &mut world.daemon {
        daemon.watch = None;
    }
}
