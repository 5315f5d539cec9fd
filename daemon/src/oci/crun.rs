//! crun's command line (1.8 and later).
//!
//! Never: runs it.

use std::path::Path;

use protocol::{
    ids::{ContainerId, ExecId},
    rundir::RunDir,
    shim,
};

use super::{Location, OciRuntime, commands::text, exec_cgroup};

/// crun.
#[derive(Debug)]
pub struct Crun {
    location: Location,
}

impl Crun {
    /// crun at this place.
    pub fn new(location: Location) -> Self {
        Self { location }
    }
}

impl OciRuntime for Crun {
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
        let mut args: Vec<String> = ["exec", "--detach"].map(str::to_owned).into();
        if self.location.cgroup_v2 {
            // crun knows sub-cgroups on v2 only.
            args.push(format!("--cgroup={}", exec_cgroup(exec)));
        }
        args.extend(["--pid-file".to_owned(), text(&run_dir.exec_pid_file(exec))]);
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
