//! The container that a shim has taken up: its order, the lock on its run directory, and the files that are named
//! after it.
//!
//! Owns: the lock, held for life. Never: a process; decides what is written when.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    mem::ManuallyDrop,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
};

use nix::{
    fcntl::{Flock, FlockArg},
    libc::{O_NOFOLLOW, O_NONBLOCK},
};
use protocol::{exit_record::ExitRecord, limits::RECORD_MAX};

use super::{
    command::Verdict,
    facts::Facts,
    launch::{CommandLine, Launch},
    ledger::{self, Durability},
    words::{self, Words},
};
use crate::{
    fault::{Because, Fault},
    steps,
};

/// The container, and the lock that says that its shim lives.
#[derive(Debug)]
pub(crate) struct Container {
    /// What it is.
    pub(crate) launch: Launch,
    /// Released by the kernel, when shim and keeper have ended. Never by us once the keeper has its duplicate: that would be
    /// free too, and a successor without it.
    lock: ManuallyDrop<Flock<File>>,
}

/// Which of the runtime's commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Create, and the call Launch.
    Create,
    /// Start, and the call Start.
    Start,
    /// Undo.
    Undo,
}

impl Step {
    /// Its number among what the keeper holds.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Create => 0,
            Self::Start => 1,
            Self::Undo => 2,
        }
    }

    /// The step of a number.
    pub(crate) fn of(number: u32) -> Option<Self> {
        [Self::Create, Self::Start, Self::Undo].into_iter().find(|step| step.number() == number)
    }
}

impl Container {
    /// Locks the run directory. Fails where another shim has it.
    pub(crate) fn take(launch: Launch) -> Result<Self, Fault> {
        steps::check("supervise.lock")?;
        let path = launch.run_dir.lock();
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(O_NOFOLLOW);
        let file = options.open(&path).because(|| format!("the lock {} cannot be opened", path.display()))?;
        let lock =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno).because(|| {
                format!("the lock {} is held: another shim supervises this container", path.display())
            })?;
        Ok(Self { launch, lock: ManuallyDrop::new(lock) })
    }

    /// Goes on in the place of a killed shim, with its lock.
    pub(crate) fn take_over(launch: Launch, lock: OwnedFd) -> Result<Self, Fault> {
        // Ours already: it belongs to the open file, which is the same.
        let lock = Flock::lock(File::from(lock), FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| errno)
            .because(|| "the lock of a killed shim is somebody else's".into())?;
        Ok(Self { launch, lock: ManuallyDrop::new(lock) })
    }

    /// Lets the lock go, where nothing was done under it and the keeper has none.
    pub(crate) fn let_go(self) {
        drop(ManuallyDrop::into_inner(self.lock));
    }

    /// Whether a daemon has recorded its end, since it had given this start up. Who records one holds the lock.
    pub(crate) fn has_ended(&self) -> bool {
        let mut record = Vec::new();
        let mut options = File::options();
        // What is no plain file keeps nobody waiting, and says nothing.
        options.read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK);
        let read = options
            .open(&self.launch.exit_record)
            .and_then(|file| file.take(RECORD_MAX as u64 + 1).read_to_end(&mut record));
        read.is_ok() && ExitRecord::decode(&record).is_ok()
    }

    /// The locked file.
    pub(crate) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// The command line of a step; undo may have none.
    pub(crate) fn line(&self, step: Step) -> Option<&CommandLine> {
        match step {
            Step::Create => Some(&self.launch.create),
            Step::Start => Some(&self.launch.start),
            Step::Undo => self.launch.undo.as_ref(),
        }
    }

    /// Removes what a former life may have left where the runtime writes.
    pub(crate) fn forget_notes(&self) {
        for stale in [self.launch.run_dir.pid_file(), self.launch.run_dir.runtime_log()] {
            drop(std::fs::remove_file(stale));
        }
    }

    /// Why a step's command failed: the runtime's log, else its words, else how it ended.
    pub(crate) fn why(&self, step: Step, verdict: Verdict, words: &Words) -> String {
        let spoken = Some(words.text()).filter(|text| !text.is_empty());
        let log = self.launch.run_dir.runtime_log();
        let said = words::last_error(&log).or(spoken).or_else(|| words::no_room(&log));
        let described = verdict.describe(self.line(step).map(|line| line.time).unwrap_or_default());
        match (said, verdict) {
            (None, _) => described,
            (Some(said), Verdict::TimedOut) => format!("{described}; it had said: {said}"),
            (Some(said), Verdict::Success | Verdict::Failed(_)) => said,
        }
    }

    /// Writes the exit record; returns it when it is on disk.
    pub(crate) fn write_exit(&self, facts: &Facts, oom_kills: u32, now: i64) -> Result<Vec<u8>, Fault> {
        let record = facts.exit_record(oom_kills, now).encode();
        steps::check("supervise.exit_record")?;
        match ledger::write(&self.launch.exit_record, &record, Durability::Power) {
            // Somebody took the container's folder away, and with it all that would read this.
            Err(_) if self.is_forgotten() => {}
            written => written?,
        }
        steps::reach("supervise.recorded");
        Ok(record)
    }

    /// Whether the folder of the exit record is gone, though the one that it was in is there.
    fn is_forgotten(&self) -> bool {
        let is_gone = |path: &Path| path.symlink_metadata().is_err_and(|e| e.kind() == ErrorKind::NotFound);
        let folder = self.launch.exit_record.parent();
        folder.is_some_and(|folder| is_gone(folder) && folder.parent().is_some_and(Path::is_dir))
    }

    /// Writes the status record, for people and for a daemon that cannot ask.
    pub(crate) fn write_status(&self, facts: &Facts) -> Result<(), Fault> {
        let record = facts.status_record().encode();
        steps::check("supervise.status")?;
        ledger::write(&self.launch.run_dir.status(), &record, Durability::Process)
    }

    /// Nobody can connect any more.
    pub(crate) fn remove_socket(&self) {
        drop(std::fs::remove_file(self.launch.run_dir.socket()));
        steps::reach("supervise.socket_gone");
    }
}
