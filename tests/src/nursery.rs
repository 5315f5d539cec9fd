//! The harness's end of the nursery process (`bin/nursery.rs`): starts and ends one daemon after the other under
//! it, and lists what lives below it.
//!
//! Owns: the nursery's pipes. Never: what is started.

use std::{
    collections::HashMap,
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use crate::{eventually::eventually, limits::SOON, network::Network};

/// What the nursery has told so far.
#[derive(Debug, Default)]
struct News {
    ready: bool,
    started: Option<Result<u32, String>>,
    ended: HashMap<u32, i32>,
}

/// One nursery process.
#[derive(Debug)]
pub struct Nursery {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Filled by the thread that reads the nursery's stdout.
    news: Arc<(Mutex<News>, Condvar)>,
}

/// A program of this package, beside the running one or one folder above it (`deps/`).
fn program(name: &str) -> PathBuf {
    let own = env::current_exe().expect("the running program has a path");
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not beside {}: build the package's programs", own.display()))
}

impl Nursery {
    /// Starts an empty one.
    pub fn new() -> Self {
        let mut child = Command::new(program("nursery"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the nursery starts");
        let stdin = child.stdin.take();
        let out = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let news = Arc::new((Mutex::new(News::default()), Condvar::new()));
        let told = Arc::clone(&news);
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                told.0.lock().expect("nobody panics here").take(&line);
                told.1.notify_all();
            }
        });
        let new = Self { child, stdin, news };
        new.wait(|news| news.ready.then_some(())).expect("the nursery has a network of its own");
        new
    }

    /// Starts a command under it; its output is appended to the log.
    pub fn start(
        &mut self,
        log: &Path,
        environment: &[(String, String)],
        command: &[String],
    ) -> Result<u32, String> {
        let mut words = vec!["start".to_owned(), log.to_string_lossy().into_owned()];
        words.extend(environment.iter().map(|(name, value)| format!("{name}={value}")));
        words.push("--".to_owned());
        words.extend_from_slice(command);
        let stdin = self.stdin.as_mut().ok_or("the nursery is closed")?;
        writeln!(stdin, "{}", words.join("\t")).map_err(|e| e.to_string())?;
        self.wait(|news| news.started.take()).ok_or("the nursery does not answer")?
    }

    /// Exit code of a child of the nursery, once it has ended (128 + n for signal n).
    pub fn ended(&self, pid: u32) -> Option<i32> {
        self.news.0.lock().expect("nobody panics here").ended.get(&pid).copied()
    }

    fn wait<T>(&self, mut take: impl FnMut(&mut News) -> Option<T>) -> Option<T> {
        let lock = self.news.0.lock().expect("nobody panics here");
        let mut found = None;
        let waited = self.news.1.wait_timeout_while(lock, SOON, |news| {
            found = take(news);
            found.is_none()
        });
        drop(waited);
        found
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The network that it and all below it live in.
    pub fn network(&self) -> Network {
        Network::of(self.child.id())
    }

    /// Every process below the nursery, zombies too.
    pub fn descendants(&self) -> Vec<Process> {
        let all = processes();
        let mut below = vec![self.child.id()];
        let mut found = Vec::new();
        while let Some(parent) = below.pop() {
            for process in all.iter().filter(|process| process.parent == parent) {
                below.push(process.pid);
                found.push(process.clone());
            }
        }
        found
    }

    /// Ids of those with this name that live.
    pub fn named(&self, name: &str) -> Vec<u32> {
        let of_it = self.descendants().into_iter().filter(|process| process.state != 'Z');
        of_it
            .filter(|process| process.name.starts_with(name.get(..15).unwrap_or(name)))
            .map(|p| p.pid)
            .collect()
    }

    /// Ids of those whose command line begins so, with spaces between its words.
    pub fn commands(&self, begin: &str) -> Vec<u32> {
        let line = |pid: u32| {
            let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        self.descendants().iter().map(|p| p.pid).filter(|&pid| line(pid).starts_with(begin)).collect()
    }

    /// Kills whatever is left and ends.
    pub fn close(&mut self) {
        self.stdin = None;
        eventually(SOON, "the nursery's end", || self.child.try_wait().ok().flatten());
    }
}

impl Default for Nursery {
    fn default() -> Self {
        Self::new()
    }
}

impl News {
    fn take(&mut self, line: &str) {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("started"), Some(pid), _) => {
                let started = pid.parse().map_err(|_| line.to_owned());
                if let Ok(pid) = &started {
                    // An earlier process of this number has nothing to do with it.
                    self.ended.remove(pid);
                }
                self.started = Some(started);
            }
            (Some("ready"), ..) => self.ready = true,
            (Some("failed"), ..) => self.started = Some(Err(line.to_owned())),
            (Some("ended"), Some(pid), Some(code)) => {
                if let (Ok(pid), Ok(code)) = (pid.parse(), code.parse()) {
                    self.ended.insert(pid, code);
                }
            }
            _ => {}
        }
    }
}

/// One line of the process table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// One letter, as in `/proc/PID/stat`.
    pub state: char,
    /// Its short name.
    pub name: String,
}

/// The process table.
pub fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(process).collect()
}

/// One process; `None`: it is gone.
pub fn process(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold brackets itself.
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some(Process { pid, parent: fields.next()?.parse().ok()?, state, name: name.to_owned() })
}
