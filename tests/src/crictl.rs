//! crictl against a daemon under test.
//!
//! Never: reads the host's /etc/crictl.yaml.

use std::{path::PathBuf, process::Command};

use crate::{daemon::Daemon, host};

/// crictl, bound to one socket.
#[derive(Debug)]
pub struct Crictl {
    program: PathBuf,
    config: PathBuf,
}

impl Crictl {
    /// `None`: there is none here, the test is skipped.
    pub fn new(daemon: &Daemon) -> Option<Self> {
        let program = host::crictl()?;
        let config = daemon.path("crictl.yaml");
        let socket = daemon.socket();
        let text = format!(
            "runtime-endpoint: unix://{0}\nimage-endpoint: unix://{0}\ntimeout: 30\n",
            socket.display()
        );
        put(&config, &text);
        Some(Self { program, config })
    }

    /// Runs it; exit code, stdout, stderr.
    pub fn try_run(&self, args: &[&str]) -> (i32, String, String) {
        let out = Command::new(&self.program).arg("--config").arg(&self.config).args(args).output();
        let out = out.expect("crictl can be run");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (out.status.code().unwrap_or(-1), text(out.stdout), text(out.stderr))
    }

    /// Runs it; it must succeed. Its stdout without the last line feed.
    pub fn run(&self, args: &[&str]) -> String {
        let (code, out, err) = self.try_run(args);
        assert_eq!(code, 0, "crictl {}: {out}{err}", args.join(" "));
        out.trim_end().to_owned()
    }

    /// The same, as JSON.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let out = self.run(args);
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("crictl {}: {e}: {out}", args.join(" ")))
    }

    /// Writes a configuration as a file that crictl reads.
    pub fn file(daemon: &Daemon, name: &str, content: &serde_json::Value) -> String {
        let path = daemon.path(name);
        put(&path, &content.to_string());
        path.to_string_lossy().into_owned()
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
fn put(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).expect("the test's folder can be written");
}
