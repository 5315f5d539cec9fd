//! The daemon that quickstart starts, kills and starts again.
//!
//! Never: another one's.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::{Child, Command};

use super::super::{connect::Connection, exit::Failure};
use super::checks::wait_for;

/// How long a daemon may take to end on SIGTERM: its own bound is 5 s.
const STOP: Duration = Duration::from_secs(10);

pub(super) struct Daemon {
    folder: PathBuf,
    child: Child,
    pid: u32,
}

impl Daemon {
    pub(super) async fn start(folder: &Path) -> Result<Self, Failure> {
        let (child, pid) = spawn(folder)?;
        let mut daemon = Self { folder: folder.to_owned(), child, pid };
        match daemon.wait_until_serving().await {
            Ok(()) => Ok(daemon),
            Err(failure) => {
                // It may run all the same, somewhere else.
                daemon.kill().await?;
                Err(failure)
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("state/taffrail.sock")
    }

    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        Connection::open(self.socket()).await
    }

    /// SIGKILL, at once.
    pub(super) async fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill().await.map_err(|e| Failure::failed(format!("the daemon cannot be killed: {e}")))
    }

    pub(super) async fn restart(&mut self) -> Result<(), Failure> {
        (self.child, self.pid) = spawn(&self.folder)?;
        self.wait_until_serving().await
    }

    /// Starts it again where it has ended.
    pub(super) async fn ensure(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(_)) => self.restart().await,
            Err(e) => Err(Failure::failed(e)),
        }
    }

    /// SIGTERM, and its end.
    pub(super) async fn stop(&mut self) -> Result<(), Failure> {
        let handle = i32::try_from(self.pid).map_err(Failure::failed)?;
        let pid = nix::unistd::Pid::from_raw(handle);
        // Our own child, not reaped yet: the number is still its.
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).ok();
        match tokio::time::timeout(STOP, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.failure(&format!("the daemon ended with {status}"))),
            Ok(Err(e)) => Err(Failure::failed(e)),
            Err(_) => Err(self.failure("the daemon does not end")),
        }
    }

    fn failure(&self, what: &str) -> Failure {
        let log = fs::read_to_string(self.folder.join("daemon.log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(10).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Failure::failed(format!("{what}; its last words:\n{}", tail.join("\n")))
    }

    async fn wait_until_serving(&mut self) -> Result<(), Failure> {
        let socket = self.socket();
        let child = &mut self.child;
        let served = wait_for("the daemon", || {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(Failure::failed(format!("the daemon ended with {status}")));
            }
            Ok(std::os::unix::net::UnixStream::connect(&socket).is_ok())
        })
        .await;
        served.map_err(|failure| self.failure(&failure.to_string()))
    }
}

fn spawn(folder: &Path) -> Result<(Child, u32), Failure> {
    let failed = |e: std::io::Error| Failure::failed(format!("the daemon cannot be started: {e}"));
    let log = File::options().create(true).append(true).open(folder.join("daemon.log")).map_err(failed)?;
    let drop_ins = folder.join("config.d");
    crate::store::make_dir(&drop_ins).map_err(failed)?;
    let child = Command::new(std::env::current_exe().map_err(failed)?)
        .arg("serve")
        .env_clear()
        // Nothing of the host's own configuration.
        .arg("--config")
        .arg("/dev/null")
        .arg("--config-dir")
        .arg(&drop_ins)
        .arg("--root")
        .arg(folder.join("root"))
        .arg("--state")
        .arg(folder.join("state"))
        .arg("--set")
        .arg(format!("netns_dir={}", folder.join("netns").display()))
        .arg("--set")
        .arg("log.target=stderr")
        .arg("--set")
        .arg("network=bridge")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(log))
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let pid = child.id().ok_or_else(|| Failure::failed("the daemon has ended already"))?;
    Ok((child, pid))
}
