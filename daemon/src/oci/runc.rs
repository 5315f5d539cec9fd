//! runc's command line (1.1 and later).
//!
//! Never: runs it.

use std::path::Path;

use protocol::{
    ids::{ContainerId, ExecId},
    rundir::RunDir,
    shim,
};

use super::{Location, OciRuntime, commands::text, exec_cgroup};

/// runc, or a program with its command line.
#[derive(Debug)]
pub struct Runc {
    location: Location,
}

impl Runc {
    /// runc at this place.
    pub fn new(location: Location) -> Self {
        Self { location }
    }
}

impl OciRuntime for Runc {
    fn program(&self) -> &Path {
        &self.location.program
    }

    fn root(&self) -> &Path {
        &self.location.root
    }

    fn create(&self, run_dir: &RunDir, bundle: &Path, id: &ContainerId, terminal: bool) -> shim::Command {
        self.location.create(run_dir, bundle, id, terminal)
    }

    fn start(&self, run_dir: &RunDir, id: &ContainerId) -> shim::Command {
        self.location.start(run_dir, id)
    }

    fn exec(&self, run_dir: &RunDir, id: &ContainerId, exec: &ExecId, argv: &[String]) -> shim::Command {
        // On v1 only the freezer needs a place of its own: it is what a tree is killed by (runc 1.1.0).
        let cgroup = if self.location.cgroup_v2 {
            format!("/{}", exec_cgroup(exec))
        } else {
            format!("freezer:{}", exec_cgroup(exec))
        };
        let mut args: Vec<String> =
            ["exec", "--detach", "--cgroup", &cgroup, "--pid-file"].map(str::to_owned).into();
        args.push(text(&run_dir.exec_pid_file(exec)));
        args.push(id.to_string());
        args.extend_from_slice(argv);
        self.location.command(&run_dir.exec_log(exec), &args)
    }

    fn update(&self, run_dir: &RunDir, id: &ContainerId, limits: &Path) -> shim::Command {
        self.location.update(run_dir, id, limits)
    }

    fn delete(&self, run_dir: &RunDir, id: &ContainerId) -> shim::Command {
        self.location.delete(run_dir, id)
    }
}
