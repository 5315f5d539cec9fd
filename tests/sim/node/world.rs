//! The state of the node, and what happens to it from outside.
//!
//! Owns: the files, the processes, and the truth about the container's end. Never: decides what the daemon or the shim do.

use super::{daemon::Daemon, shim::Shim};
use crate::{
    explore::Model,
    machines::{Machines, container, shim as machine},
};

/// How a container ended, in an exit record or in truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// By itself, or by a signal that it was sent.
    Itself,
    /// By SIGKILL from us.
    Killed,
    /// Stopped before it was started.
    NeverStarted,
    /// Its start failed.
    StartFailed,
    /// Nobody saw how.
    Lost,
}

/// The container's first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Init {
    /// There is none.
    None,
    /// It waits to be started.
    Waits,
    /// Its program runs.
    Runs,
    /// It has ended, and nobody has seen it yet.
    Ended(End),
}

/// A command of the runtime's that runs: a child of the keeper, whoever started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    Create,
    Start,
    Undo,
}

/// How far a container is made, by its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Made {
    #[default]
    Nothing,
    Facts,
    Whole,
}

/// A shim that was told to launch the container by a daemon that is dead, or has given the start up; how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Late {
    /// It saw its sender alive, and takes the lock next.
    Looked,
    /// It has the lock, and looks once more.
    Locked,
}

/// What is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Disk {
    pub made: Made,
    pub launched: bool,
    /// A shim has written its status record.
    pub status: bool,
    pub exit: Option<End>,
}

/// How often something may still happen from outside: what is not bounded here would never end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    pub starts: u8,
    pub stops: u8,
    pub removes: u8,
    pub daemon_deaths: u8,
    pub shim_deaths: u8,
    pub keeper_deaths: u8,
    /// Steps that fail.
    pub failures: u8,
    /// Times that a shim is stopped by SIGSTOP.
    pub silences: u8,
}

/// What has really happened, whoever knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Truth {
    /// Its program ran.
    pub ran: bool,
    /// Somebody asked for its end, or its start failed: it may be killed.
    pub may_be_killed: bool,
    /// Keeper and shim were dead at once: nobody watches.
    pub unwatched: bool,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub disk: Disk,
    pub daemon: Option<Daemon>,
    pub shim: Option<Shim>,
    pub keeper: bool,
    /// The state of a killed shim that the keeper holds, with the lock.
    pub held: Option<machine::State>,
    /// A shim whose sender is gone.
    pub late: Option<Late>,
    pub command: Option<Command>,
    pub init: Init,
    pub truth: Truth,
    pub left: Budget,
}

/// What may happen next.
pub type Steps = Vec<(&'static str, Result<World, String>)>;

/// What is asked, the event, and how often it may still be.
type Question = (&'static str, container::Event, fn(&mut Budget) -> &mut u8);

/// A node with these machines, on which so much may happen.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    pub machines: Machines,
    pub budget: Budget,
    /// Who records a loss ends the runtime's commands first.
    pub ends_commands: bool,
    /// A shim takes no launch up whose sender is gone.
    pub heeds_senders: bool,
}

impl World {
    /// Somebody holds the lock on the run directory.
    pub fn is_locked(&self) -> bool {
        self.held.is_some()
            || self.is_locked_late()
            || self.shim.as_ref().is_some_and(|shim| shim.has_container)
    }

    /// The one who holds it was told by a sender that is gone, and will see that.
    pub fn is_locked_late(&self) -> bool {
        self.late == Some(Late::Locked)
    }

    /// Whoever holds the lock is killed, and the keeper lets go of it.
    pub fn free_the_lock(&mut self) {
        self.held = None;
        self.shim.take_if(|shim| shim.has_container);
        self.late.take_if(|late| *late == Late::Locked);
        self.see_who_watches();
    }

    /// A newborn that hears its launch now does not take it up.
    pub fn refuses_launch(&self) -> bool {
        self.is_locked_late() || self.disk.exit.is_some()
    }

    /// Whoever had told a newborn has gone: its connection ends. One that was told nothing sees that and leaves.
    pub fn let_newborn_go(&mut self, is_told: bool) {
        if self.shim.take_if(|shim| !shim.has_container).is_some() && is_told {
            self.late.get_or_insert(Late::Looked);
        }
    }

    /// The container's first process gets SIGKILL.
    pub fn kill_init(&mut self) -> Result<(), String> {
        if matches!(self.init, Init::Waits | Init::Runs) {
            if !self.truth.may_be_killed && !self.truth.unwatched {
                return Err("a container is killed, and nobody asked for it".to_owned());
            }
            self.init = Init::Ended(End::Killed);
        }
        Ok(())
    }

    /// Writes an exit record. It says the truth, and says it once.
    pub fn write_exit(&mut self, end: End, true_end: Option<End>) -> Result<(), String> {
        if let Some(before) = self.disk.exit
            && before != end
        {
            return Err(format!("the exit record {before:?} is written again as {end:?}"));
        }
        if matches!(end, End::Itself | End::Killed) && true_end != Some(end) {
            return Err(format!("the exit record says {end:?}, the truth is {true_end:?}"));
        }
        if end == End::Lost && !self.truth.unwatched && !self.truth.may_be_killed {
            return Err("a container is lost although somebody watched it".to_owned());
        }
        self.disk.exit = Some(end);
        Ok(())
    }
}

impl Model for Node {
    type World = World;

    fn begin(&self) -> World {
        World {
            disk: Disk::default(),
            daemon: Some(Daemon::with_new_container()),
            shim: None,
            keeper: true,
            held: None,
            late: None,
            command: None,
            init: Init::None,
            truth: Truth::default(),
            left: self.budget,
        }
    }

    fn next(&self, world: &World) -> Steps {
        let mut steps = Vec::new();
        self.daemon_steps(world, &mut steps);
        self.procedure_steps(world, &mut steps);
        self.watch_steps(world, &mut steps);
        self.shim_steps(world, &mut steps);
        self.late_steps(world, &mut steps);
        keeper_steps(self, world, &mut steps);
        orphan_steps(world, &mut steps);
        let waits = world.daemon.as_ref().is_some_and(Daemon::has_callers);
        // What is stopped may stay so; whoever waits must be answered all the same.
        if waits && steps.is_empty() {
            steps.push(("nothing", Err("a caller waits, and nothing will ever happen".to_owned())));
        }
        self.outside_steps(world, &mut steps);
        steps
    }
}

/// The keeper puts another shim in the place of a killed one.
fn keeper_steps(node: &Node, world: &World, steps: &mut Steps) {
    if let (true, Some(state), None) = (world.keeper, world.held, &world.shim) {
        let mut next = world.clone();
        next.held = None;
        next.shim = Some(Shim::new(state));
        let event =
            if world.command.is_some() { machine::Event::TakenOver } else { machine::Event::TakenOverIdle };
        steps.push(("keeper: another shim in the place of a killed one", node.feed_shim(next, event)));
    }
    let daemon_lives = world.daemon.is_some();
    if !world.keeper && daemon_lives {
        let mut next = world.clone();
        next.keeper = true;
        steps.push(("daemon: another keeper", Ok(next)));
    }
    if let (true, true, Some(shim)) = (world.keeper, daemon_lives, &world.shim)
        && shim.has_container
        && !shim.kept
        && shim.answers()
    {
        let mut next = world.clone();
        if let Some(shim) = &mut next.shim {
            shim.kept = true;
        }
        steps.push(("daemon: brings the shim to the keeper", Ok(next)));
    }
}

/// A command of the runtime's whose shim and keeper are gone does its work all the same.
fn orphan_steps(world: &World, steps: &mut Steps) {
    let Some(command) = world.command.filter(|_| world.shim.is_none() && world.held.is_none()) else {
        return;
    };
    let mut next = world.clone();
    next.command = None;
    let before = next.init;
    match command {
        Command::Create if before == Init::None => next.init = Init::Waits,
        Command::Start if before == Init::Waits => (next.init, next.truth.ran) = (Init::Runs, true),
        Command::Create | Command::Start | Command::Undo => {}
    }
    let is_late = next.init != before && (next.disk.exit.is_some() || !next.disk.launched);
    let led = if is_late {
        Err("a command makes a process run of a container whose end is recorded".to_owned())
    } else {
        Ok(next)
    };
    steps.push(("runtime: a command without anybody ends", led));
}

impl Node {
    /// What others do, and what breaks.
    fn outside_steps(&self, world: &World, steps: &mut Steps) {
        let mut may = |what: &'static str, left: fn(&mut Budget) -> &mut u8, change: &dyn Fn(&mut World)| {
            let mut next = world.clone();
            let left = left(&mut next.left);
            if *left > 0 {
                *left -= 1;
                change(&mut next);
                steps.push((what, Ok(next)));
            }
        };
        if world.daemon.is_some() && world.is_being_lost() {
            let what = "the daemon is killed while it records a loss";
            may(what, |left| &mut left.daemon_deaths, &|next| (next.daemon, next.command) = (None, None));
            may(what, |left| &mut left.daemon_deaths, &|next| {
                (next.daemon, next.command) = (None, None);
                next.init = Init::Ended(End::Killed);
            });
        }
        if world.daemon.is_some() {
            may("the daemon is killed", |left| &mut left.daemon_deaths, &|next| {
                let has_told = next.daemon.take().is_some_and(|daemon| daemon.has_told());
                next.let_newborn_go(has_told);
            });
        }
        if let Some(shim) = &world.shim {
            may("the shim is killed", |left| &mut left.shim_deaths, &|next| next.lose_shim());
            if !shim.silent {
                may("the shim is stopped", |left| &mut left.silences, &|next| {
                    if let Some(shim) = &mut next.shim {
                        shim.silent = true;
                    }
                });
            }
        }
        if world.keeper {
            may("the keeper is killed", |left| &mut left.keeper_deaths, &|next| {
                next.keeper = false;
                next.held = None;
                if let Some(shim) = &mut next.shim {
                    shim.kept = false;
                }
                next.see_who_watches();
            });
        }
        if world.shim.as_ref().is_some_and(|shim| shim.silent) {
            let mut next = world.clone();
            if let Some(shim) = &mut next.shim {
                shim.silent = false;
            }
            steps.push(("the shim goes on", Ok(next)));
        }
        if world.init == Init::Runs {
            let mut next = world.clone();
            next.init = Init::Ended(End::Itself);
            steps.push(("the container ends by itself", Ok(next)));
        }
        if world.daemon.is_some() {
            self.questions(world, steps);
        }
    }

    fn questions(&self, world: &World, steps: &mut Steps) {
        use container::Event;
        let questions: [Question; 3] = [
            ("caller: StartContainer", Event::AskStart, |left| &mut left.starts),
            ("caller: StopContainer", Event::AskStop, |left| &mut left.stops),
            ("caller: RemoveContainer", Event::AskRemove, |left| &mut left.removes),
        ];
        for (what, event, left) in questions {
            let mut next = world.clone();
            let left = left(&mut next.left);
            if *left == 0 {
                continue;
            }
            *left -= 1;
            next.truth.may_be_killed |= event != Event::AskStart;
            if let Some(daemon) = &mut next.daemon {
                daemon.is_asked(event);
            }
            steps.push((what, self.handle(next, event)));
        }
    }
}

impl World {
    /// The shim's process is gone; what it had shown is held, if anybody holds it.
    pub fn lose_shim(&mut self) {
        let Some(shim) = self.shim.take() else { return };
        if self.keeper && shim.kept && shim.has_container && shim.state != machine::State::Left {
            self.held = Some(shim.state);
        }
        self.see_who_watches();
    }

    /// Something of it runs, nobody sees how it ends, and there is no record yet.
    fn is_being_lost(&self) -> bool {
        let is_lost =
            self.truth.unwatched && !self.is_locked() && self.disk.launched && self.disk.exit.is_none();
        is_lost && self.runs()
    }

    /// Nobody is left who could see an end.
    pub fn see_who_watches(&mut self) {
        if self.shim.is_none() && self.held.is_none() && self.disk.launched {
            self.truth.unwatched = true;
        }
    }
}
