//! Runs another program (a CNI plugin, nft) to its end: bounded in time and output, in a process group of its own, with
//! a clean environment.
//!
//! What it prints is untrusted. Owns: the process until it has ended. Never: knows what it runs.

use std::{path::Path, process::Stdio, time::Duration};

use nix::{sys::signal, unistd::Pid};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use crate::{
    limits::{PLUGIN_OUTPUT_MAX, PLUGIN_STDERR_MAX},
    operations,
    sys::tied,
};

/// What to run, and with what.
#[derive(Debug)]
pub(super) struct Program<'a> {
    pub(super) path: &'a Path,
    pub(super) args: &'a [&'a str],
    pub(super) environment: Vec<(&'static str, String)>,
    pub(super) input: &'a [u8],
    pub(super) deadline: Duration,
}

/// How it went.
#[derive(Debug)]
pub(super) struct Ended {
    /// It ended with 0.
    pub(super) success: bool,
    /// The end in words, such as `exit status: 1`.
    pub(super) how: String,
    pub(super) output: Vec<u8>,
    /// The beginning of what it said on stderr.
    pub(super) errors: String,
}

impl Program<'_> {
    /// Runs it. An error is a sentence about why there is no end to speak of.
    pub(super) async fn run(self) -> Result<Ended, String> {
        let mut command = Command::new(self.path);
        command
            .args(self.args)
            .env_clear()
            .envs(self.environment)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        // It must not work on after a daemon that was killed: the next one takes apart what it makes. Tasks are polled by
        // the runtime's workers, which live as long as the daemon.
        tied::tie(&mut command);
        let started = command.spawn();
        let mut child = started.map_err(|e| format!("{} cannot be started: {e}", self.path.display()))?;
        match tokio::time::timeout(self.deadline, talk(&mut child, self.input)).await {
            Ok(Ok(ended)) => Ok(ended),
            Ok(Err(what)) => {
                end_group(&mut child).await;
                Err(what)
            }
            Err(_) => {
                end_group(&mut child).await;
                let place = operations::still(self.deadline);
                Err(format!("it did not end within {:?}, and was killed; {place}", self.deadline))
            }
        }
    }
}

/// Feeds it and reads it until its output ends, and only then reaps it: until then its number is its own.
async fn talk(child: &mut Child, input: &[u8]) -> Result<Ended, String> {
    let missing = || "a pipe is missing".to_owned();
    let mut stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    let feed = async {
        // It may well end without reading; then its own words say why.
        drop(stdin.write_all(input).await);
        drop(stdin);
        Ok(())
    };
    let said = async { Ok(head(stderr, PLUGIN_STDERR_MAX).await) };
    let ((), output, errors) = tokio::try_join!(feed, whole(stdout), said)?;
    let status = child.wait().await.map_err(|e| format!("its end cannot be seen: {e}"))?;
    Ok(Ended { success: status.success(), how: status.to_string(), output, errors })
}

/// All of it, or an error where it is too much.
async fn whole(mut from: impl AsyncRead + Unpin) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let most = u64::try_from(PLUGIN_OUTPUT_MAX).unwrap_or(u64::MAX);
    (&mut from)
        .take(most + 1)
        .read_to_end(&mut bytes)
        .await
        .map_err(|e| format!("its output cannot be read: {e}"))?;
    if bytes.len() > PLUGIN_OUTPUT_MAX {
        return Err(format!("it printed more than {PLUGIN_OUTPUT_MAX} bytes, and was killed"));
    }
    Ok(bytes)
}

/// Its beginning in one line; the rest is read and thrown away.
async fn head(mut from: impl AsyncRead + Unpin, most: usize) -> String {
    let mut kept = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    // What was read until then is all there is.
    drop((&mut from).take(limit).read_to_end(&mut kept).await);
    drop(tokio::io::copy(&mut from, &mut tokio::io::sink()).await);
    one_line(&String::from_utf8_lossy(&kept))
}

/// A text from outside as a part of a sentence: one line, nothing that moves a terminal's cursor.
pub(super) fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Kills it with everything it started, and reaps it.
async fn end_group(child: &mut Child) {
    // Not reaped yet, so the number is still its.
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // Gone meanwhile: fine.
        signal::killpg(Pid::from_raw(pid), signal::Signal::SIGKILL).ok();
    }
    drop(child.kill().await);
}

/// Where programs that a plugin calls (iptables, ip) are looked for.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
