//! The parts of a command line that runc and crun have in common.
//!
//! Owns: the global options. Never: an option that only one of them has.

use std::path::{Path, PathBuf};

use protocol::{ids::ContainerId, rundir::RunDir, shim};

use crate::limits;

/// A runtime on this host.
#[derive(Debug, Clone)]
pub struct Location {
    /// The program.
    pub program: PathBuf,
    /// Its own state folder.
    pub root: PathBuf,
    /// Scopes by systemd instead of folders.
    pub systemd: bool,
    /// The host has the unified hierarchy only.
    pub cgroup_v2: bool,
}

/// A path as text. Ours are made of checked parts, so they are UTF-8.
pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Location {
    /// A command line with the global options. Errors go to `log`, as JSON: stderr is the container's.
    pub(super) fn command(&self, log: &Path, args: &[String]) -> shim::Command {
        let mut all = vec![
            "--root".to_owned(),
            text(&self.root),
            "--log".to_owned(),
            text(log),
            "--log-format".to_owned(),
            "json".to_owned(),
        ];
        if self.systemd {
            all.push("--systemd-cgroup".to_owned());
        }
        all.extend_from_slice(args);
        let mut command = shim::Command::new();
        command.program = text(&self.program);
        command.args = all;
        command.timeout_ms = u32::try_from(limits::RUNTIME_COMMAND.as_millis()).unwrap_or(u32::MAX);
        command
    }

    /// create, the same for both.
    pub(super) fn create(
        &self,
        run_dir: &RunDir,
        bundle: &Path,
        id: &ContainerId,
        terminal: bool,
    ) -> shim::Command {
        let mut args = vec![
            "create".to_owned(),
            "--bundle".to_owned(),
            text(bundle),
            "--pid-file".to_owned(),
            text(&run_dir.pid_file()),
        ];
        if terminal {
            args.extend(["--console-socket".to_owned(), text(&run_dir.console_socket())]);
        }
        args.push(id.to_string());
        self.command(&run_dir.runtime_log(), &args)
    }

    /// start, the same for both.
    pub(super) fn start(&self, run_dir: &RunDir, id: &ContainerId) -> shim::Command {
        self.command(&run_dir.runtime_log(), &["start".to_owned(), id.to_string()])
    }

    /// update, the same for both.
    pub(super) fn update(&self, run_dir: &RunDir, id: &ContainerId, file: &Path) -> shim::Command {
        let args = ["update".to_owned(), "--resources".to_owned(), text(file), id.to_string()];
        let mut command = self.command(&run_dir.update_log(), &args);
        command.timeout_ms = u32::try_from(limits::RUNTIME_UPDATE.as_millis()).unwrap_or(u32::MAX);
        command
    }

    /// delete, the same for both.
    pub(super) fn delete(&self, run_dir: &RunDir, id: &ContainerId) -> shim::Command {
        let mut command = self
            .command(&run_dir.runtime_log(), &["delete".to_owned(), "--force".to_owned(), id.to_string()]);
        command.timeout_ms = u32::try_from(limits::RUNTIME_DELETE.as_millis()).unwrap_or(u32::MAX);
        command
    }
}
