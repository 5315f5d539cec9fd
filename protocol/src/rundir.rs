//! Every file name inside a shim's run directory: one authority for daemon and shim.
//!
//! Owns: names. Never: touches the file system.

use std::path::{Path, PathBuf};

use crate::ids::ExecId;

/// Environment variable of a runtime's command, and of all that it starts: the id of the container that it works for. So
/// it is found where nobody waits for it any more.
pub const CONTAINER_VARIABLE: &str = "TAFFRAIL_CONTAINER";

/// The run directory of one container: `STATE/shims/<id>`. Made by the daemon (mode 0700) before the shim is
/// launched, removed by the daemon after the shim has been dismissed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// The run directory at this absolute path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Its own name: the container's id.
    pub fn name(&self) -> &str {
        self.0.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Held with an exclusive `flock` by the shim for life. Free: no shim lives.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// The control socket, mode 0600. Its path may exceed `sun_path`: go through `/proc/self/fd/N/sock`.
    pub fn socket(&self) -> PathBuf {
        self.0.join(Self::SOCKET)
    }

    /// File name of the control socket.
    pub const SOCKET: &'static str = "sock";

    /// The status record; see [`crate::status_record`]. Written by the shim.
    pub fn status(&self) -> PathBuf {
        self.0.join("status")
    }

    /// Where the runtime's create writes the init process's id.
    pub fn pid_file(&self) -> PathBuf {
        self.0.join("init.pid")
    }

    /// The runtime's own log of create and start, one JSON object a line.
    pub fn runtime_log(&self) -> PathBuf {
        self.0.join("runtime.log")
    }

    /// The runtime's own log of an update.
    pub fn update_log(&self) -> PathBuf {
        self.0.join("update.log")
    }

    /// Where the runtime sends the terminal's master side. Bound by the shim when a terminal is asked for.
    pub fn console_socket(&self) -> PathBuf {
        self.0.join(Self::CONSOLE_SOCKET)
    }

    /// File name of the console socket.
    pub const CONSOLE_SOCKET: &'static str = "console.sock";

    /// Where the runtime's exec writes the process's id.
    pub fn exec_pid_file(&self, exec: &ExecId) -> PathBuf {
        self.0.join(format!("exec-{exec}.pid"))
    }

    /// The runtime's own log of one exec.
    pub fn exec_log(&self, exec: &ExecId) -> PathBuf {
        self.0.join(format!("exec-{exec}.log"))
    }
}
