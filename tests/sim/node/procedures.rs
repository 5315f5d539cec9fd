//! The daemon's procedures as they are cut by a death: one step of this module is what happens as a whole, or not at all.
//!
//! Never: policy; that is the machines'.

use super::shim::Shim;
use super::world::{Command, Disk, End, Init, Made, Node, Steps, World};
use crate::machines::{
    container::Event,
    shim::{self as machine, State as S},
};

/// A procedure, and how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Procedure {
    /// 0: nothing yet. 1: the facts are there.
    Create(u8),
    /// So many launches were lost. The mark, or again.
    Launch(u8),
    /// The mark is there; a shim is to be had.
    Newborn(u8),
    /// It is told to launch.
    Tell(u8),
    /// It was told.
    Told(u8),
    /// Its answers are waited for.
    Await,
    /// 0: nothing yet. 1: told, and waited for. 3: once more. 2: past the shim, and waited for.
    Kill(u8),
    /// One that was never started.
    NeverStarted,
    /// 0: nothing yet. 1: unmade. 2: its shim was told to kill. 3: its shim is gone. 4: nothing of it runs.
    Reclaim(u8),
}

use Procedure as P;

impl Procedure {
    /// Whether something may run when it is done.
    pub fn is_of_start(self) -> bool {
        matches!(self, P::Launch(_) | P::Newborn(_) | P::Tell(_) | P::Told(_) | P::Await)
    }
}

/// A launch that was lost is made again so often.
const LAUNCHES: u8 = 2;

impl Node {
    /// What the procedures may do next.
    pub fn procedure_steps(&self, world: &World, steps: &mut Steps) {
        let Some(daemon) = &world.daemon else { return };
        for (at, &procedure) in daemon.procedures.iter().enumerate() {
            let mut next = world.clone();
            if let Some(daemon) = &mut next.daemon {
                daemon.procedures.remove(at);
            }
            match procedure {
                P::Create(stage) => self.create(next, stage, steps),
                P::Launch(_) | P::Newborn(_) | P::Tell(_) => self.launch(next, procedure, steps),
                P::Told(lost) => self.told(next, lost, steps),
                P::Await => self.wait_for_start(next, steps),
                P::Kill(stage) => self.kill(next, stage, steps),
                // It leaves, and is waited for.
                P::NeverStarted if next.is_locked_late() => {}
                P::NeverStarted => {
                    steps.push(("daemon: records that it never started", self.never_started(next)));
                }
                P::Reclaim(stage) => self.reclaim(next, stage, steps),
            }
        }
    }

    fn create(&self, mut next: World, stage: u8, steps: &mut Steps) {
        if next.left.failures > 0 {
            let mut failed = next.clone();
            failed.left.failures -= 1;
            steps.push(("daemon: create fails", self.handle(failed, Event::CreateFailed)));
        }
        if stage == 0 {
            next.disk.made = Made::Facts;
            next.begin(P::Create(1));
            steps.push(("daemon: create writes the facts", Ok(next)));
        } else {
            next.disk.made = Made::Whole;
            steps.push(("daemon: create is done", self.handle(next, Event::CreateDone)));
        }
    }

    fn launch(&self, mut next: World, procedure: Procedure, steps: &mut Steps) {
        match procedure {
            P::Launch(lost) => {
                next.disk.launched = true;
                next.begin(P::Newborn(lost));
                steps.push(("daemon: start sets the mark", Ok(next)));
            }
            P::Newborn(lost) => {
                if next.left.failures > 0 {
                    let mut failed = next.clone();
                    failed.left.failures -= 1;
                    steps.push(("daemon: no shim can be had", self.start_failed(failed)));
                }
                // Its parent.
                if !next.keeper {
                    return;
                }
                let made = if next.shim.is_some() || next.held.is_some() {
                    Err("a second shim is made for a container".to_owned())
                } else {
                    next.shim = Some(Shim::new(S::Born));
                    next.begin(P::Tell(lost));
                    Ok(next)
                };
                steps.push(("daemon: start has a shim", made));
            }
            P::Tell(lost) => match &next.shim {
                Some(shim) if shim.answers() => {
                    next.begin(P::Told(lost));
                    steps.push(("daemon: tells the shim to launch", Ok(next)));
                }
                Some(_) => steps.push(("daemon: the newborn does not answer", self.given_up(next, false))),
                None => self.newborn_gone(next, lost, steps),
            },
            _ => {}
        }
    }

    fn newborn_gone(&self, mut next: World, lost: u8, steps: &mut Steps) {
        if lost < LAUNCHES {
            next.begin(P::Newborn(lost + 1));
            steps.push(("daemon: the newborn is gone, another one", Ok(next)));
        } else {
            steps.push(("daemon: the newborns are gone", self.start_failed(next)));
        }
    }

    /// Waits until the shim has heard.
    fn told(&self, next: World, lost: u8, steps: &mut Steps) {
        match &next.shim {
            _ if next.disk.status => self.wait_for_start(next, steps),
            Some(shim) if shim.silent => {
                steps.push(("daemon: the launch has had its time", self.given_up(next, true)));
            }
            Some(_) if next.refuses_launch() => {
                let what = "shim: refuses, since another has the lock or the end is recorded";
                steps.push((what, self.given_up(next, false)));
            }
            Some(_) => {}
            None => self.newborn_gone(next, lost, steps),
        }
    }

    fn given_up(&self, mut next: World, is_told: bool) -> Result<World, String> {
        next.let_newborn_go(is_told);
        self.start_failed(next)
    }

    /// Asks the shim how far it is, and asks for the start when it is time.
    fn wait_for_start(&self, mut next: World, steps: &mut Steps) {
        let Some(shim) = next.shim.clone() else {
            if next.held.is_some() {
                // The keeper puts another one in its place; in time, or not.
                steps.push(("daemon: the shim's place stays empty too long", self.start_failed(next)));
            } else if let Some(end) = next.disk.exit {
                steps.push(("daemon: start finds an exit record", self.start_ended(next, end)));
            } else {
                steps.push(("daemon: start finds no shim", self.start_failed(next)));
            }
            return;
        };
        if shim.silent {
            steps.push(("daemon: the shim does not answer its start", self.start_failed(next)));
            return;
        }
        if !shim.answers() {
            return;
        }
        match shim.state {
            S::Created => {
                next.begin(P::Await);
                steps.push(("daemon: tells the shim to start", self.feed_shim(next, machine::Event::Start)));
            }
            // Without a start its end is that of a start that failed, which its record will say.
            S::Draining | S::Recording if !next.truth.ran => {}
            S::Running | S::Draining | S::Recording => {
                if let Some(daemon) = &mut next.daemon {
                    (daemon.link, daemon.watch) = (true, Some(false));
                }
                steps.push(("daemon: it is started", self.handle(next, Event::StartDone)));
            }
            S::Exited => {
                let end = next.disk.exit.unwrap_or(End::Lost);
                steps.push(("daemon: start finds it ended", self.start_ended(next, end)));
            }
            S::Born | S::Creating | S::Undoing | S::Starting | S::StartingEnded | S::Failing | S::Left => {}
        }
    }

    /// The shim says how it ended: having run, or not.
    fn start_ended(&self, mut next: World, end: End) -> Result<World, String> {
        if end == End::StartFailed || !next.truth.ran {
            next = self.dismiss_if_it_may(next)?;
            return self.start_failed(next);
        }
        if let Some(daemon) = &mut next.daemon {
            (daemon.link, daemon.watch) = (true, Some(false));
        }
        self.handle(next, Event::StartDone)
    }

    /// Sees to it that there is an exit record, if nobody lives who will write one.
    fn start_failed(&self, mut next: World) -> Result<World, String> {
        next.truth.may_be_killed = true;
        let end = match next.disk.exit {
            Some(end) => end,
            None if next.is_locked() => {
                if let Some(daemon) = &mut next.daemon {
                    daemon.watch = Some(true);
                }
                return self.handle(next, Event::StartUnknown);
            }
            None => {
                next.end_commands(self.ends_commands);
                next.kill_past_the_shim()?;
                next.write_exit(End::StartFailed, None)?;
                End::StartFailed
            }
        };
        if let Some(daemon) = &mut next.daemon {
            daemon.exit = Some(end);
        }
        self.handle(next, Event::StartFailed)
    }

    fn never_started(&self, mut next: World) -> Result<World, String> {
        if next.disk.exit.is_none() {
            if next.is_locked() {
                return Err("a stop is refused for ever, since a shim lives that nobody follows".to_owned());
            }
            next.write_exit(End::NeverStarted, None)?;
        }
        let end = next.disk.exit.unwrap_or(End::NeverStarted);
        self.hear_exit(next, end)
    }

    fn kill(&self, mut next: World, stage: u8, steps: &mut Steps) {
        let knows = next.daemon.as_ref().is_some_and(|daemon| daemon.exit.is_some());
        let has_link = next.daemon.as_ref().is_some_and(|daemon| daemon.link);
        let answers = next.shim.as_ref().is_some_and(Shim::answers);
        let is_busy = next.shim.as_ref().is_some_and(|shim| !shim.silent && !shim.todo.is_empty());
        match stage {
            _ if knows => {
                if let Some(daemon) = &mut next.daemon {
                    daemon.kill_ended();
                }
                steps.push(("daemon: the kill is over", Ok(next)));
            }
            // What is written is written within the patience of a kill.
            1.. if next.daemon.as_ref().is_some_and(|d| d.procedures.contains(&P::NeverStarted)) => {}
            0 if has_link && is_busy => {}
            0 => {
                let what = if has_link && answers {
                    "daemon: tells the shim to kill"
                } else {
                    "daemon: kills past the shim"
                };
                let killed = next.kill_past_the_shim().map(|()| {
                    next.begin(P::Kill(1));
                    next
                });
                steps.push((what, killed));
            }
            // One that answers will tell of the end. What it was told may have been before there was anything to kill.
            1 if (answers || is_busy) && !next.runs() => {}
            1 | 3 if is_busy => {}
            1 if answers => {
                let killed = next.kill_past_the_shim().map(|()| {
                    next.begin(P::Kill(3));
                    next
                });
                steps.push(("daemon: kills once more", killed));
            }
            3 if answers && !next.runs() => {}
            3 if answers => {
                steps.push(("daemon: it cannot be killed", self.handle(next, Event::KillOver)));
            }
            1 | 3 => {
                let killed = next.kill_past_the_shim().map(|()| {
                    next.free_the_lock();
                    next.begin(P::Kill(2));
                    next
                });
                steps.push(("daemon: sends the shim away by force", killed));
            }
            // The lock is asked for first: another start has it.
            _ if next.disk.exit.is_none() && next.is_locked() => {
                steps.push(("daemon: the kill has no loss to record", self.handle(next, Event::KillOver)));
            }
            _ => {
                let lost = next.record_lost(self.ends_commands).and_then(|end| self.hear_exit(next, end));
                steps.push(("daemon: the kill records the loss", lost));
            }
        }
    }

    fn reclaim(&self, mut next: World, stage: u8, steps: &mut Steps) {
        if next.left.failures > 0 {
            let mut failed = next.clone();
            failed.left.failures -= 1;
            steps.push(("daemon: reclaim leaves something", self.handle(failed, Event::ReclaimFailed)));
        }
        match stage {
            0 => {
                next.disk.made = Made::Facts;
                next.begin(P::Reclaim(1));
                steps.push(("daemon: reclaim unmakes it", Ok(next)));
            }
            1 | 2 => self.reclaim_shim(next, stage, steps),
            3 => {
                next.truth.may_be_killed = true;
                let killed = next.kill_past_the_shim().map(|()| {
                    next.init = Init::None;
                    next.begin(P::Reclaim(4));
                    next
                });
                steps.push(("daemon: reclaim deletes it from the runtime", killed));
            }
            _ => {
                next.disk = Disk::default();
                steps.push(("daemon: reclaim is done", self.handle(next, Event::ReclaimDone)));
            }
        }
    }

    fn reclaim_shim(&self, mut next: World, stage: u8, steps: &mut Steps) {
        let shim = next.shim.clone().filter(|shim| shim.has_container);
        match shim {
            None if !next.is_locked() => {
                next.begin(P::Reclaim(3));
                steps.push(("daemon: reclaim finds no shim", Ok(next)));
            }
            Some(shim) if !shim.silent && !shim.todo.is_empty() => {}
            Some(shim) if !shim.silent && shim.state == S::Exited => {
                next.begin(P::Reclaim(1));
                steps.push((
                    "daemon: reclaim dismisses the shim",
                    self.feed_shim(next, machine::Event::Dismiss),
                ));
            }
            Some(shim) if !shim.silent && stage == 1 => {
                next.truth.may_be_killed = true;
                let killed = next.kill_past_the_shim().map(|()| {
                    next.begin(P::Reclaim(2));
                    next
                });
                steps.push(("daemon: reclaim tells the shim to kill", killed));
            }
            // It will see the end.
            Some(shim) if !shim.silent => {}
            _ => {
                next.free_the_lock();
                next.begin(P::Reclaim(1));
                steps.push(("daemon: reclaim sends the shim away by force", Ok(next)));
            }
        }
    }

    /// A dismissal that the shim may refuse.
    fn dismiss_if_it_may(&self, next: World) -> Result<World, String> {
        let may = next.shim.as_ref().is_some_and(|shim| shim.answers() && shim.state == S::Exited);
        if may { self.feed_shim(next, machine::Event::Dismiss) } else { Ok(next) }
    }
}

impl World {
    fn begin(&mut self, procedure: Procedure) {
        if let Some(daemon) = &mut self.daemon {
            daemon.procedures.push(procedure);
            daemon.procedures.sort_by_key(|procedure| matches!(procedure, P::Kill(_)));
        }
    }

    /// Something of the container runs, or is about to.
    pub fn runs(&self) -> bool {
        matches!(self.init, Init::Waits | Init::Runs)
            || matches!(self.command, Some(Command::Create | Command::Start))
    }

    /// Nothing of the container is left.
    pub fn is_gone(&self) -> bool {
        let shim = self.shim.as_ref().is_some_and(|shim| shim.has_container);
        self.disk == Disk::default()
            && !shim
            && self.held.is_none()
            && self.init == Init::None
            && self.command.is_none()
    }

    /// SIGKILL to its cgroup.
    pub fn kill_past_the_shim(&mut self) -> Result<(), String> {
        self.kill_init()
    }

    /// The lock is free and there is no record: what remains is killed, and the loss recorded.
    pub fn record_lost(&mut self, ends_commands: bool) -> Result<End, String> {
        if let Some(end) = self.disk.exit {
            return Ok(end);
        }
        if self.is_locked() {
            return Err("a loss is recorded although a shim lives".to_owned());
        }
        self.end_commands(ends_commands);
        self.kill_init()?;
        self.write_exit(End::Lost, None)?;
        Ok(End::Lost)
    }

    /// SIGKILL to the runtime's commands that are nobody's.
    fn end_commands(&mut self, ends_commands: bool) {
        if ends_commands {
            self.command = None;
        }
    }
}
