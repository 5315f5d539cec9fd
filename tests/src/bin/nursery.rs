//! The process under which a test's daemon lives: child subreaper of the daemon, of its shims and of everything
//! below them, so that whatever they leave behind is found here and nowhere else. It has a network namespace of its
//! own with loopback only, and so has whatever it starts.
//!
//! Lines on stdin: `start` and then, tab-separated, a log file, environment settings (`NAME=value`), `--`, and the
//! command line. Lines on stdout: `ready`, `started PID`, `failed WHY`, `ended PID CODE` (128 + n for signal n). End of
//! stdin: everything below is killed. Never: knows what it runs.

use std::{
    fs,
    io::{self, BufRead, Write},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};
use tests::{host, nursery::processes};

fn say(line: &str) {
    // The harness is gone: stdin's end will end this process too.
    drop(writeln!(io::stdout().lock(), "{line}"));
}

fn start(line: &str) -> io::Result<u32> {
    let mut words = line.split('\t');
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{what} is missing"));
    let log =
        fs::OpenOptions::new().append(true).create(true).open(words.next().ok_or_else(|| bad("the log"))?)?;
    let environment: Vec<&str> = words.by_ref().take_while(|word| *word != "--").collect();
    let mut command = Command::new(words.next().ok_or_else(|| bad("the program"))?);
    command.args(words).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    host::without_own_variables(&mut command);
    command.envs(environment.iter().filter_map(|setting| setting.split_once('=')));
    Ok(command.spawn()?.id())
}

/// Reaps whatever ends, known or not. Without any child it waits for word that there is one.
fn reap(news: &mpsc::Receiver<()>) {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) => say(&format!("ended {pid} {code}")),
            Ok(WaitStatus::Signaled(pid, signal, _)) => say(&format!("ended {pid} {}", 128 + signal as i32)),
            Err(Errno::ECHILD) if news.recv().is_err() => return,
            _ => {}
        }
    }
}

/// Processes whose parent is this one.
fn children() -> Vec<u32> {
    let own = std::process::id();
    processes().into_iter().filter(|process| process.parent == own).map(|process| process.pid).collect()
}

/// A network of one's own: nothing that is started here can touch the host's.
fn own_network() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    if up.success() { Ok(()) } else { Err(io::Error::other("the loopback device cannot be brought up")) }
}

fn main() -> io::Result<()> {
    // Before there is a second thread.
    own_network()?;
    say("ready");
    prctl::set_child_subreaper(true)?;
    let (born, news) = mpsc::channel();
    let reaper = thread::spawn(move || reap(&news));
    for line in io::stdin().lock().lines() {
        let line = line?;
        let Some(rest) = line.strip_prefix("start\t") else { continue };
        match start(rest) {
            Ok(pid) => {
                say(&format!("started {pid}"));
                // The reaper ends only after this loop.
                born.send(()).ok();
            }
            Err(e) => say(&format!("failed {e}")),
        }
    }
    drop(born);
    // Killing a parent hands its children to us, until there are none.
    while !reaper.is_finished() {
        for pid in children() {
            // Gone already: fine.
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).ok();
        }
        thread::yield_now();
    }
    Ok(())
}
