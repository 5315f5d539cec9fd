//! What a newborn shim is told, checked: nothing of a request is used before it went through here.
//!
//! Owns: the checks. Never: touches the file system.

use std::{
    path::{Component, Path, PathBuf},
    time::Duration,
};

use protocol::{ids::ContainerId, rundir::RunDir, shim};

use crate::{
    fault::Fault,
    limits::{ARGUMENT_MAX, ARGUMENTS_MAX, COMMAND_TIME_MAX, DRAIN_DEFAULT, DRAIN_MAX, TEXT_MAX},
};

/// A checked order to supervise a container.
#[derive(Debug)]
pub(crate) struct Launch {
    /// The container.
    pub(crate) id: ContainerId,
    /// Its run directory.
    pub(crate) run_dir: RunDir,
    /// Where the exit record goes.
    pub(crate) exit_record: PathBuf,
    /// The runtime's create.
    pub(crate) create: CommandLine,
    /// The runtime's start.
    pub(crate) start: CommandLine,
    /// What takes back a failed create.
    pub(crate) undo: Option<CommandLine>,
    /// The log; `None`: output is thrown away.
    pub(crate) log: Option<PathBuf>,
    /// How its streams are made.
    pub(crate) streams: StreamKind,
    /// Close stdin when the first feed ends.
    pub(crate) stdin_once: bool,
    /// Kill what init leaves behind.
    pub(crate) kill_leftovers: bool,
    /// How long output may come after init's end.
    pub(crate) drain: Duration,
    /// Its cgroups.
    pub(crate) groups: Groups,
}

/// How a container's streams are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamKind {
    /// Pipes, stdin from nowhere.
    Pipes,
    /// Pipes, stdin too.
    PipesAndStdin,
    /// A pseudo terminal.
    Terminal,
}

/// A finished command line.
#[derive(Debug, Clone)]
pub(crate) struct CommandLine {
    /// Absolute path.
    pub(crate) program: String,
    /// Arguments after the program's name.
    pub(crate) args: Vec<String>,
    /// How long it may run.
    pub(crate) time: Duration,
}

/// Cgroup folders by hierarchy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Groups {
    /// Version 2.
    pub(crate) unified: Option<PathBuf>,
    /// Version 1, memory.
    pub(crate) memory: Option<PathBuf>,
    /// Version 1, freezer.
    pub(crate) freezer: Option<PathBuf>,
}

impl Launch {
    /// Checks a request.
    pub(crate) fn check(mut request: shim::LaunchRequest) -> Result<Self, Fault> {
        let id = ContainerId::parse(&request.container_id)
            .map_err(|e| Fault::new(format!("container_id: {e}")))?;
        let streams = match (request.terminal, request.stdin) {
            (true, _) => StreamKind::Terminal,
            (false, true) => StreamKind::PipesAndStdin,
            (false, false) => StreamKind::Pipes,
        };
        let drain = match request.drain_ms {
            0 => DRAIN_DEFAULT,
            ms => Duration::from_millis(ms.into()).min(DRAIN_MAX),
        };
        let log = (!request.log_path.is_empty()).then(|| path("log_path", &request.log_path)).transpose()?;
        Ok(Self {
            id,
            run_dir: RunDir::new(path("run_dir", &request.run_dir)?),
            exit_record: path("exit_record", &request.exit_record)?,
            create: CommandLine::check("create", request.create.take())?,
            start: CommandLine::check("start", request.start.take())?,
            undo: request.undo.take().map(|undo| CommandLine::check("undo", Some(undo))).transpose()?,
            log,
            streams,
            stdin_once: request.stdin_once,
            kill_leftovers: request.kill_leftovers,
            drain,
            groups: Groups::check(request.cgroups.take().unwrap_or_default())?,
        })
    }
}

impl CommandLine {
    /// Checks a command line.
    pub(crate) fn check(name: &str, command: Option<shim::Command>) -> Result<Self, Fault> {
        let command = command.ok_or_else(|| Fault::new(format!("{name}: the command is missing")))?;
        path(name, &command.program)?;
        let args = &command.args;
        if args.len() > ARGUMENTS_MAX || args.iter().any(|arg| arg.len() > ARGUMENT_MAX || arg.contains('\0'))
        {
            return Err(Fault::new(format!(
                "{name}: more than {ARGUMENTS_MAX} arguments, or one that is longer than {ARGUMENT_MAX} bytes or has a zero byte"
            )));
        }
        if command.timeout_ms == 0 {
            return Err(Fault::new(format!("{name}: timeout_ms is 0: give it a time")));
        }
        let time = Duration::from_millis(command.timeout_ms.into()).min(COMMAND_TIME_MAX);
        Ok(Self { program: command.program, args: command.args, time })
    }
}

impl Groups {
    /// Checks cgroup folders: below a hierarchy's root, never one itself.
    pub(crate) fn check(groups: shim::Cgroups) -> Result<Self, Fault> {
        // Parts of a path: the root, sys, fs, cgroup, then version 1's hierarchy.
        let one = |name: &str, text: &str, parts: usize| -> Result<Option<PathBuf>, Fault> {
            if text.is_empty() {
                return Ok(None);
            }
            let path = path(name, text)?;
            // Killing is done by these paths: the root of everything must not be among them.
            let is_root = path.components().count() < parts || path == Path::new("/sys/fs/cgroup/unified");
            if !path.starts_with("/sys/fs/cgroup") || is_root {
                return Err(Fault::new(format!("{name}: {text:?} is no cgroup below /sys/fs/cgroup")));
            }
            Ok(Some(path))
        };
        Ok(Self {
            unified: one("cgroups.unified", &groups.unified, 5)?,
            memory: one("cgroups.memory", &groups.memory, 6)?,
            freezer: one("cgroups.freezer", &groups.freezer, 6)?,
        })
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.unified, &self.memory, &self.freezer].into_iter().flatten()
    }

    /// Whether each of these is below the same hierarchy's group of `outer`.
    pub(crate) fn are_below(&self, outer: &Self) -> bool {
        let below = |inner: &Option<PathBuf>, outer: &Option<PathBuf>| match (inner, outer) {
            (None, _) => true,
            (Some(inner), Some(outer)) => inner.starts_with(outer) && inner != outer,
            (Some(_), None) => false,
        };
        below(&self.unified, &outer.unified)
            && below(&self.memory, &outer.memory)
            && below(&self.freezer, &outer.freezer)
    }
}

/// An absolute path without `..` of a length that the kernel takes.
fn path(name: &str, text: &str) -> Result<PathBuf, Fault> {
    let path = Path::new(text);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() || !plain || text.len() > TEXT_MAX || text.contains('\0') {
        let shown: String = text.chars().take(200).collect();
        return Err(Fault::new(format!("{name}: {shown:?} is no plain absolute path")));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use protocol::shim::{Cgroups, Command};

    use super::{CommandLine, Groups, path};

    fn command(program: &str, args: &[&str], timeout_ms: u32) -> Option<Command> {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Some(Command { program: program.into(), args, timeout_ms, ..Command::default() })
    }

    #[test]
    fn commands_must_be_finished() {
        assert!(CommandLine::check("create", command("/usr/bin/runc", &["create", ""], 1)).is_ok());
        for bad in [
            None,
            command("runc", &[], 1),
            command("/usr/bin/runc", &[], 0),
            command("/usr/bin/runc", &["a\0b"], 1),
            command("/usr/bin/../runc", &[], 1),
        ] {
            assert!(CommandLine::check("create", bad).is_err());
        }
    }

    #[test]
    fn the_root_of_cgroups_is_never_a_containers() {
        let groups = |unified: &str| Groups::check(Cgroups { unified: unified.into(), ..Cgroups::default() });
        assert!(groups("/sys/fs/cgroup/kubepods/pod1").is_ok());
        assert!(groups("").is_ok());
        for bad in [
            "/sys/fs/cgroup",
            "/sys/fs/cgroup/",
            "/sys/fs/cgroup/..",
            "/sys/fs/cgroup/unified",
            "/tmp/x/y/z",
            "a",
            "/sys/fs/cgroups/x",
        ] {
            assert!(groups(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_execs_groups_are_below_its_containers() {
        let groups =
            |freezer: &str| Groups::check(Cgroups { freezer: freezer.into(), ..Cgroups::default() }).unwrap();
        let outer = groups("/sys/fs/cgroup/freezer/a");
        assert!(groups("/sys/fs/cgroup/freezer/a/exec").are_below(&outer));
        assert!(groups("").are_below(&outer));
        assert!(!groups("/sys/fs/cgroup/freezer/ab").are_below(&outer));
        assert!(!outer.are_below(&outer));
        assert!(!groups("/sys/fs/cgroup/freezer/a").are_below(&groups("")));
    }

    #[test]
    fn paths_are_plain() {
        assert!(path("p", "/a/b").is_ok());
        for bad in ["", "a", "/a/../b", "/a\0b", &"/a".repeat(3000)] {
            assert!(path("p", bad).is_err());
        }
    }
}
