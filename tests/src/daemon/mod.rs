//! A daemon under test: the real program with a root, a state folder and an instance of its own, so that several
//! can run at once, below a nursery that sees all it leaves behind.
//!
//! When it is dropped the test is over: all pods are removed, the host is compared with what it was before the
//! test, the daemon is stopped, and nothing may be left. Never: forgives a leak, unless the test failed already.

mod boot;
mod pods;
mod said;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

pub use self::{pods::Pod, said::ShimEnds};
use crate::{
    ask,
    client::CriClient,
    eventually::{eventually, within},
    failpoints, host, image_file,
    leaks::{Places, Snapshot},
    limits::{LOG_TAIL, SERVING, SOON, STANDBY, STOPPING},
    network::Network,
    nursery::Nursery,
};

/// How a daemon is to be started.
#[derive(Debug, Default, Clone)]
pub struct Options {
    /// `--set` values, after the harness's own.
    pub set: Vec<String>,
    /// Environment.
    pub environment: Vec<(String, String)>,
    /// Where the test's folder is made, if not in /tmp.
    pub below: Option<PathBuf>,
    /// The program, where it is not the one that was built for use.
    pub program: Option<PathBuf>,
    /// What the daemon is to find in /proc/sys/kernel/random/boot_id: it lives in a mount namespace of its own then,
    /// which ends with it, as all mounts of a host do.
    pub boot_id: Option<String>,
    /// How shims may end. With failpoints they may always fail.
    pub shim_ends: ShimEnds,
}

/// A running daemon and all that is its own.
#[derive(Debug)]
pub struct Daemon {
    folder: TempDir,
    nursery: Nursery,
    options: Options,
    pid: Option<u32>,
    /// How much of the log belongs to earlier starts.
    log_seen: usize,
    places: Places,
    baseline: Option<Snapshot>,
    client: CriClient,
}

impl Daemon {
    /// Starts one with defaults and imports the demo image. `None`: this host cannot; the test is skipped.
    pub fn start() -> Option<Self> {
        Self::start_with(Options::default())
    }

    /// The same with options.
    pub fn start_with(options: Options) -> Option<Self> {
        if !host::can_run_containers() {
            return None;
        }
        let mut daemon = Self::empty(options);
        daemon.launch();
        let demo = daemon.path("demo.tar");
        image_file::write_demo(&demo).expect("the demo image can be written");
        daemon.import(&demo);
        daemon.warm_up();
        daemon.settle();
        Some(daemon)
    }

    /// One pod's life, so that what is made once and kept (folders, the parent cgroup, connections) is there.
    fn warm_up(&self) {
        let pod = self.run_pod("warm-up");
        let id = self.create(&pod, &ask::container("warm-up", image_file::DEMO, &["true"]));
        // Where it cannot be started the test is about just that.
        self.client.start_container(ask::start(&id)).ok();
        self.remove_pods();
    }

    /// Everything but the process.
    pub fn empty(options: Options) -> Self {
        // Short: paths of sockets below it must fit 108 bytes in the clients.
        let below = options.below.clone().unwrap_or_else(|| PathBuf::from("/tmp"));
        let folder = tempfile::Builder::new().prefix("tt.").tempdir_in(below).expect("/tmp can be written");
        let path = folder.path().to_owned();
        fs::create_dir(path.join("config.d")).expect("/tmp can be written");
        // A test that wants rules or certificates for registries writes them here.
        fs::File::create(path.join("registries.conf")).expect("/tmp can be written");
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let instance = format!("tt-{}", name.trim_start_matches("tt.").to_lowercase());
        let files = vec![path.join("root"), path.join("state"), path.join("netns")];
        Self {
            nursery: Nursery::new(),
            options,
            pid: None,
            log_seen: 0,
            places: Places { folders: vec![path.clone()], root: path.join("root"), files, instance },
            baseline: None,
            client: CriClient::new(&path.join("state/taffrail.sock")),
            folder,
        }
    }

    /// From now on this is what the host must look like at the end. Shims are made ahead in the background: the next
    /// ones must be there, or they would look like a leak.
    pub fn settle(&mut self) {
        let look = || Snapshot::take(&self.places, &self.nursery, self.pid);
        let mut last = look();
        within(SOON, || {
            let before = std::mem::replace(&mut last, look());
            (self.standby() >= STANDBY && before == last).then_some(())
        });
        self.baseline = Some(last);
    }

    /// Shims that wait for a container.
    fn standby(&self) -> usize {
        let status = self.pid.and_then(|_| self.client.shims().ok()).unwrap_or_default();
        let busy = |pid: u32| status.containers.iter().any(|container| container.shim_pid == pid);
        let shims = self.nursery.descendants();
        shims.iter().filter(|process| process.name == "taffrail-shim" && !busy(process.pid)).count()
    }

    /// A path below the test's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The gRPC socket.
    pub fn socket(&self) -> PathBuf {
        self.path("state/taffrail.sock")
    }

    /// Its process; fails the test where there is none.
    pub fn pid(&self) -> u32 {
        self.pid.expect("the daemon runs")
    }

    /// Its process, if it was not ended.
    pub fn running(&self) -> Option<u32> {
        self.pid
    }

    /// The client of its socket.
    pub fn client(&self) -> &CriClient {
        &self.client
    }

    /// How many containers' shims its keeper keeps.
    pub fn kept(&self) -> u32 {
        self.client().shims().map_or(0, |status| status.kept)
    }

    /// Name of this daemon among those of the host.
    pub fn instance(&self) -> &str {
        &self.places.instance
    }

    /// Where the leak checker looks.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// What lives below the daemon and its past selves.
    pub fn nursery(&self) -> &Nursery {
        &self.nursery
    }

    /// The network that the daemon lives in: for servers it is to reach, and for programs that are to reach its pods.
    pub fn network(&self) -> Network {
        self.nursery.network()
    }

    /// The command line of `taffrail serve` for this daemon.
    pub fn command(&self) -> Vec<String> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let program = self.options.program.clone().unwrap_or_else(host::taffrail);
        let mut words = self.in_boot();
        words.extend([text(program), "serve".to_owned()]);
        words.extend([
            "--root".to_owned(),
            text(self.path("root")),
            "--state".to_owned(),
            text(self.path("state")),
        ]);
        // Nothing of the host's own configuration.
        words.extend(["--config-dir".to_owned(), text(self.path("config.d"))]);
        let own = [
            format!("netns_dir={}", text(self.path("netns"))),
            format!("instance={}", self.places.instance),
            format!("registries_conf={}", text(self.path("registries.conf"))),
            format!("registries_certs_dir={}", text(self.path("certs.d"))),
            "log.target=stderr".to_owned(),
            // Nothing of the host's own networks.
            format!("cni.conf_dir={}", text(self.path("cni"))),
        ];
        for setting in own.iter().chain(&self.options.set) {
            words.extend(["--set".to_owned(), setting.clone()]);
        }
        words
    }

    /// The environment of the next start.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.options.environment = environment;
    }

    /// Starts the process and waits until it serves.
    pub fn launch(&mut self) {
        if let Err(code) = self.try_launch() {
            panic!("the daemon ended with {code} before it served:\n{}", self.log_tail());
        }
    }

    /// The same; says with what code it ended where it did not come to serve.
    pub fn try_launch(&mut self) -> Result<(), i32> {
        self.log_seen = self.log().len();
        let pid = self.spawn();
        let done = eventually(SERVING, "the line `serving unix://`", || {
            if let Some(code) = self.nursery.ended(pid) {
                return Some(Err(code));
            }
            self.log().get(self.log_seen..)?.contains("serving unix://").then_some(Ok(()))
        });
        if done.is_err() {
            self.pid = None;
        }
        done
    }

    /// Starts the process and does not wait.
    pub fn spawn(&mut self) -> u32 {
        let command = self.command();
        let log = self.path("daemon.log");
        let pid = self.nursery.start(&log, &self.options.environment, &command);
        let pid = pid.unwrap_or_else(|e| panic!("{}: {e}", command.join(" ")));
        self.pid = Some(pid);
        pid
    }

    /// SIGKILL, and its end.
    pub fn kill9(&mut self) {
        self.signal(Signal::SIGKILL);
        assert_eq!(self.wait(SOON), 137, "the daemon died of SIGKILL");
    }

    /// SIGTERM: it must end with 0 in five seconds.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let code = self.wait(STOPPING);
        assert_eq!(code, 0, "exit code at SIGTERM:\n{}", self.log_tail());
    }

    /// kill -9 and a new start.
    pub fn restart(&mut self) {
        self.kill9();
        self.launch();
    }

    /// Sends a signal to the daemon's process.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).expect("the daemon can be signalled");
    }

    /// Takes note that the process was ended by other means.
    pub fn forget(&mut self) {
        self.wait(SOON);
    }

    fn wait(&mut self, deadline: std::time::Duration) -> i32 {
        let pid = self.pid();
        let code = eventually(deadline, "the daemon's end", || self.nursery.ended(pid));
        self.pid = None;
        code
    }

    /// All that it has written to stderr.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    /// What it has written since its last start.
    pub fn log_of_this_start(&self) -> String {
        self.log().get(self.log_seen..).unwrap_or_default().to_owned()
    }

    /// Lines of it that tell of bugs of ours, in whatever process, where shims may end so.
    pub fn bugs_but(&self, ends: ShimEnds) -> Vec<String> {
        said::bugs(&self.log(), ends).into_iter().map(str::to_owned).collect()
    }

    fn bugs(&self) -> Vec<String> {
        let ends = match self.options.shim_ends {
            ShimEnds::Killed if failpoints::are_in(&self.options.environment) => ShimEnds::Failed,
            ends => ends,
        };
        self.bugs_but(ends)
    }

    /// The last lines of it.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
    }

    /// Runs a client command of the program against this daemon.
    pub fn cli(&self, args: &[&str]) -> Output {
        let mut command = Command::new(host::taffrail());
        host::without_own_variables(&mut command);
        command.args(args).env("TAFFRAIL_SOCKET", self.socket()).output().expect("taffrail can be run")
    }

    /// Imports an image file.
    pub fn import(&self, file: &Path) {
        let done = self.cli(&["image", "import", &file.to_string_lossy()]);
        assert!(
            done.status.success(),
            "import of {}: {}{}",
            file.display(),
            String::from_utf8_lossy(&done.stderr),
            self.log_tail()
        );
    }

    /// Compares the host with the baseline; waits for what is still on its way out.
    pub fn check_leaks(&self) {
        let Some(baseline) = &self.baseline else { return };
        let mut last = None;
        let clean = within(SOON, || {
            last = self.snapshot().more_than(baseline);
            last.is_none().then_some(())
        });
        if let (None, Some(difference)) = (clean, last) {
            panic!("leaked:\n{difference}\n{}", self.log_tail());
        }
    }

    /// What the daemon has on the host now, and what it says is under way.
    pub fn snapshot(&self) -> Snapshot {
        let now = Snapshot::take(&self.places, &self.nursery, self.pid);
        let status = self.pid.and_then(|_| self.client.shims().ok()).unwrap_or_default();
        let stuck =
            status.stuck.into_iter().map(|it| format!("{} of {}, in {}", it.what, it.object, it.step));
        let under_way = (0..status.under_way).map(|_| "a procedure or call".to_owned());
        now.with("stuck operation", stuck).with("under way", under_way)
    }

    /// Starts a program below the daemon's nursery.
    pub fn start_beside(&mut self, words: &[&str]) -> u32 {
        let log = self.path("beside.log");
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let pid = self.nursery.start(&log, &[], &words);
        pid.unwrap_or_else(|e| panic!("{}: {e}", words.join(" ")))
    }

    fn finish(&mut self) {
        if self.pid.is_none() {
            self.launch();
        }
        self.remove_pods();
        self.check_leaks();
        let bugs = self.bugs();
        assert!(bugs.is_empty(), "the daemon's log tells of bugs of ours:\n{}", bugs.join("\n"));
        self.stop();
        self.nothing_left();
    }

    /// With the daemon gone, the host has nothing of it but the files below its folder.
    fn nothing_left(&self) {
        let mut last = None;
        let clean = within(SOON, || {
            let now = Snapshot::take(&self.places, &self.nursery, None).without_files();
            last = now.more_than(&Snapshot::default());
            last.is_none().then_some(())
        });
        if let (None, Some(difference)) = (clean, last) {
            panic!("left on the host after the daemon's end:\n{difference}\n{}", self.log_tail());
        }
    }

    /// Takes away by force what a failed test left, so that the next one and the host are not hurt.
    fn sweep(&mut self) {
        self.nursery.close();
        self.unmount();
        // What was killed a moment ago may still be in them.
        within(SOON, || {
            let left = Snapshot::cgroups(&self.places);
            left.iter().rev().for_each(|cgroup| drop(fs::remove_dir(cgroup)));
            left.is_empty().then_some(())
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = format!("the daemon's log:\n{}\n", self.log_tail());
            // Past the capture of libtest. stderr closed: nobody is there to read.
            std::io::stderr().write_all(log.as_bytes()).ok();
        } else if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.finish())) {
            self.sweep();
            std::panic::resume_unwind(panic);
        }
        self.sweep();
    }
}
