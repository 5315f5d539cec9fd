//! Debian's conmon as a peer: one for each container, with runc, as CRI-O uses it.
//!
//! Owns: its bundles and their lives. Never: CRI-O, which Debian does not have.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tests::{
    eventually::{eventually, within},
    host,
    limits::SOON,
    nursery::process,
};

use crate::output::note;

/// Parent of its containers' cgroups.
const PARENT: &str = "taffrail-bench";

/// conmon and runc.
pub(crate) struct Conmon {
    program: PathBuf,
    runc: PathBuf,
}

/// One container under one conmon.
pub(crate) struct Run {
    folder: TempDir,
    runc: PathBuf,
    id: String,
    /// The supervisor.
    pub(crate) pid: u32,
    init: u32,
}

#[expect(clippy::disallowed_methods, reason = "the benchmark's own file; nobody reads half of it")]
fn put(path: &Path, text: &str) {
    fs::write(path, text).expect("the benchmark's folder can be written");
}

fn number(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

impl Conmon {
    /// `None`: one of them is not here; said on stderr.
    pub(crate) fn find() -> Option<Self> {
        match (host::find("conmon"), host::find("runc")) {
            (Some(program), Some(runc)) => Some(Self { program, runc }),
            _ => {
                note("no conmon or no runc here");
                None
            }
        }
    }

    /// Starts a container that runs the demo program with these arguments and logs to this file.
    pub(crate) fn run(&self, args: &[&str], log: &Path) -> Run {
        let folder = tempfile::Builder::new().prefix("tb.").tempdir_in("/tmp").expect("/tmp can be written");
        let at = |name: &str| folder.path().join(name);
        let id = format!(
            "tb-{}",
            folder.path().file_name().unwrap_or_default().to_string_lossy().replace('.', "-")
        );
        fs::create_dir_all(at("bundle/rootfs")).expect("the folder can be written");
        fs::copy(host::demo(), at("bundle/rootfs/demo")).expect("the program can be copied");
        self.spec(&at("bundle"), args, &id);
        let done = Command::new(&self.program)
            .args(["--api-version", "1", "-c", &id, "-u", &id, "-n", &id])
            .arg("-r")
            .arg(&self.runc)
            .arg("--runtime-arg")
            .arg(format!("--root={}", at("runc").display()))
            .arg("-b")
            .arg(at("bundle"))
            .arg("-p")
            .arg(at("init.pid"))
            .arg("-P")
            .arg(at("conmon.pid"))
            .arg("--exit-dir")
            .arg(folder.path())
            .arg("-l")
            .arg(format!("k8s-file:{}", log.display()))
            .arg("--socket-dir-path")
            .arg(folder.path())
            .output()
            .expect("conmon can be run");
        assert!(done.status.success(), "conmon: {}", String::from_utf8_lossy(&done.stderr));
        let pid = eventually(SOON, "conmon", || number(&at("conmon.pid")));
        let init = eventually(SOON, "the container", || number(&at("init.pid")));
        let root = at("runc");
        let run = Run { folder, runc: self.runc.clone(), id, pid, init };
        run.runc(&root, &["start", &run.id]);
        run
    }

    fn spec(&self, bundle: &Path, args: &[&str], id: &str) {
        let made =
            Command::new(&self.runc).arg("spec").current_dir(bundle).status().expect("runc can be run");
        assert!(made.success(), "runc spec");
        let file = bundle.join("config.json");
        let text = fs::read_to_string(&file).expect("runc wrote it");
        let mut spec: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        let words: Vec<&str> = ["/demo"].iter().chain(args).copied().collect();
        spec["process"]["terminal"] = false.into();
        spec["process"]["args"] = serde_json::json!(words);
        spec["linux"]["cgroupsPath"] = format!("/{PARENT}/{id}").into();
        put(&file, &spec.to_string());
    }
}

impl Run {
    fn runc(&self, root: &Path, args: &[&str]) {
        let done =
            Command::new(&self.runc).arg("--root").arg(root).args(args).output().expect("runc can be run");
        if !done.status.success() {
            note(&format!("runc {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr)));
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        kill(Pid::from_raw(self.init.cast_signed()), Signal::SIGKILL).ok();
        // It is nobody's child here, so its end is seen in the process table only.
        within(SOON, || process(self.pid).is_none_or(|process| process.state == 'Z').then_some(()));
        self.runc(&self.folder.path().join("runc"), &["delete", "-f", &self.id]);
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().filter_map(Result::ok) {
            // In use by another one: it will be the last.
            fs::remove_dir(hierarchy.path().join(PARENT)).ok();
        }
    }
}
