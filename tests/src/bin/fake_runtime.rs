//! An OCI runtime that misbehaves by script. It takes runc's command lines; what it does stands in the file
//! `fake-runtime` of the bundle, `key=value` lines:
//!
//! - `create=`, `start=`, `exec=`: `ok` (default), `fail` (says `message` in its log), `loud` (says it on stderr),
//!   `hang`, `hang-tree` (with grandchildren), `die` (by SIGKILL, after forking);
//! - `pid=`: what create and exec write down: `true` (default), `dead`, `foreign` (process 1's neighbour: our own
//!   parent), `garbage`, `none`;
//! - `init=`, `process=`: what the container's and an exec's program do: `exit N`, `signal N`, `wait` (for a signal),
//!   `fork N` (exit N while a child keeps the streams), `say TEXT` (and exit 0), `flood N` (N numbered lines), `cat`;
//! - `when=`: init runs `at-start` (default) or `at-create`; `message=`: what it says.
//!
//! Never: makes a namespace, a mount or a cgroup.

use std::{
    collections::HashMap,
    env, fs,
    io::{self, Read, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, anyhow, bail};
use nix::{
    sys::signal::{Signal, raise},
    unistd::{Pid, getppid, pause},
};

/// The command line of runc, as far as it matters here.
#[derive(Debug, Default)]
struct Call {
    options: HashMap<String, String>,
    words: Vec<String>,
}

impl Call {
    fn parse(args: impl Iterator<Item = String>) -> Self {
        let mut call = Self::default();
        let mut args = args.peekable();
        while let Some(arg) = args.next() {
            let Some(name) = arg.strip_prefix("--") else {
                call.words.push(arg);
                continue;
            };
            let flag = matches!(name, "detach" | "systemd-cgroup" | "force" | "tty" | "no-pivot");
            let value = match name.split_once('=') {
                Some((name, value)) => {
                    call.options.insert(name.into(), value.into());
                    continue;
                }
                None if flag => String::new(),
                None => args.next().unwrap_or_default(),
            };
            call.options.insert(name.into(), value);
        }
        call
    }

    fn option(&self, name: &str) -> Result<&str> {
        self.options.get(name).map(String::as_str).ok_or_else(|| anyhow!("--{name} is missing"))
    }

    /// The folder in which a container is remembered from create to delete.
    fn home(&self) -> Result<PathBuf> {
        let root = self.options.get("root").map_or("/tmp/fake-runtime", String::as_str);
        let id = self.words.get(1).ok_or_else(|| anyhow!("no container is named"))?;
        Ok(Path::new(root).join(id))
    }

    fn say(&self, message: &str) -> Result<()> {
        let Ok(log) = self.option("log") else { return Ok(()) };
        let mut file = fs::File::options().append(true).create(true).open(log)?;
        let message = serde_json::to_string(message)?;
        writeln!(file, "{{\"level\":\"error\",\"msg\":{message},\"time\":\"2026-01-01T00:00:00Z\"}}")?;
        Ok(())
    }
}

/// What the bundle's script says.
struct Script(HashMap<String, String>);

impl Script {
    fn read(bundle: &Path) -> Self {
        let text = fs::read_to_string(bundle.join("fake-runtime")).unwrap_or_default();
        Self(text.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect())
    }

    fn get<'a>(&'a self, key: &str, default: &'a str) -> &'a str {
        self.0.get(key).map_or(default, String::as_str)
    }
}

fn main() -> ExitCode {
    let call = Call::parse(env::args().skip(1));
    let word = call.words.first().map_or("", String::as_str);
    let done = match word {
        "create" => create(&call),
        "start" => start(&call),
        "exec" => exec(&call),
        "delete" => delete(&call),
        "program" => return program(&call),
        "--version" | "" => Ok(()),
        other => Err(anyhow!("{other} is not known to this runtime")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(call.say(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

fn create(call: &Call) -> Result<()> {
    let home = call.home()?;
    let bundle = PathBuf::from(call.option("bundle")?);
    fs::create_dir_all(&home)?;
    fs::File::create(home.join("bundle"))?.write_all(bundle.as_os_str().as_encoded_bytes())?;
    let gate = home.join("start");
    drop(fs::remove_file(&gate));
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).context("the start pipe")?;
    let script = Script::read(&bundle);
    act(&script, "create", || {
        let at_start = script.get("when", "at-start") == "at-start";
        let gate = at_start.then_some(gate.as_path());
        let program = script.get("init", "wait");
        spawn(call, &script, program, gate)
    })
}

fn start(call: &Call) -> Result<()> {
    let home = call.home()?;
    let script = Script::read(&bundle(&home)?);
    act(&script, "start", || {
        if script.get("when", "at-start") == "at-start" {
            // Waits for the reader, as runc does.
            fs::File::options().write(true).open(home.join("start"))?.write_all(b"0")?;
        }
        Ok(())
    })
}

fn exec(call: &Call) -> Result<()> {
    let script = Script::read(&bundle(&call.home()?)?);
    let program = call.words[2..].join(" ");
    act(&script, "exec", || {
        spawn(
            call,
            &script,
            if program.is_empty() { script.get("process", "exit 0") } else { &program },
            None,
        )
    })
}

fn delete(call: &Call) -> Result<()> {
    let home = call.home()?;
    let bundle = bundle(&home)?;
    // A trace for the test that wants to know whether it was undone.
    fs::File::create(bundle.join("deleted"))?;
    fs::remove_dir_all(home)?;
    Ok(())
}

fn bundle(home: &Path) -> Result<PathBuf> {
    Ok(PathBuf::from(fs::read_to_string(home.join("bundle")).context("no such container")?))
}

/// Does a step as the script wants it.
fn act(script: &Script, step: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let message = script.get("message", "the script says so");
    match script.get(step, "ok") {
        "ok" => work(),
        "fail" => bail!("{message}"),
        "loud" => {
            writeln!(io::stderr(), "{message}")?;
            // Without a word in the log.
            raise(Signal::SIGTERM)?;
            Ok(())
        }
        "hang" => wait_for_ever(),
        "hang-tree" => {
            work()?;
            wait_for_ever()
        }
        "die" => {
            work()?;
            raise(Signal::SIGKILL)?;
            Ok(())
        }
        other => bail!("{step}={other} is not known"),
    }
}

/// Starts the program, which becomes an orphan when this process ends, and writes down what the script wants.
fn spawn(call: &Call, script: &Script, program: &str, gate: Option<&Path>) -> Result<()> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("program").arg(program);
    if let Some(gate) = gate {
        command.arg("--gate").arg(gate);
    }
    let mut child = command.stdin(Stdio::inherit()).spawn()?;
    let pid = match script.get("pid", "true") {
        "true" => child.id().to_string(),
        "dead" => {
            child.kill()?;
            child.wait()?;
            child.id().to_string()
        }
        "foreign" => foreign()?.to_string(),
        "garbage" => "12x4\n".into(),
        "none" => return Ok(()),
        other => bail!("pid={other} is not known"),
    };
    let path = call.option("pid-file")?;
    fs::File::create(path)?.write_all(pid.as_bytes())?;
    Ok(())
}

/// The shim's parent: alive, and no child of the shim's.
fn foreign() -> Result<i32> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", getppid()))?;
    let (_, rest) = stat.rsplit_once(')').ok_or_else(|| anyhow!("no stat"))?;
    Ok(rest.split_whitespace().nth(1).ok_or_else(|| anyhow!("no parent"))?.parse()?)
}

fn wait_for_ever() -> Result<()> {
    loop {
        pause();
    }
}

/// What runs in the container.
fn program(call: &Call) -> ExitCode {
    if let Some(gate) = call.options.get("gate") {
        drop(fs::File::open(gate).and_then(|mut gate| gate.read(&mut [0])));
    }
    match run(call.words.get(1).map_or("", String::as_str)) {
        Ok(code) => ExitCode::from(code),
        Err(_) => ExitCode::from(125),
    }
}

fn run(program: &str) -> Result<u8> {
    let (word, rest) = program.split_once(' ').unwrap_or((program, ""));
    match word {
        "exit" => Ok(rest.parse()?),
        "signal" => {
            raise(Signal::try_from(rest.parse::<i32>()?)?)?;
            bail!("the signal did not end it")
        }
        "wait" => wait_for_ever().map(|()| 0),
        "fork" => {
            // Keeps the streams, and outlives us.
            drop(Command::new(env::current_exe()?).args(["program", "wait"]).spawn()?);
            Ok(rest.parse()?)
        }
        "say" => {
            io::stdout().write_all(rest.as_bytes())?;
            Ok(0)
        }
        "err" => {
            io::stderr().write_all(rest.as_bytes())?;
            Ok(0)
        }
        "flood" => {
            let mut out = io::BufWriter::new(io::stdout());
            for number in 0..rest.parse::<u64>()? {
                writeln!(out, "line {number}")?;
            }
            out.flush()?;
            Ok(0)
        }
        "cat" => {
            io::copy(&mut io::stdin(), &mut io::stdout())?;
            Ok(0)
        }
        // Orphans of orphans, each with a code of its own, then exits with the code asked for.
        "orphans" => {
            for code in 1..=8 {
                let child = format!("exit {}", 100 + code);
                drop(Command::new(env::current_exe()?).args(["program", &child]).spawn()?);
            }
            Ok(rest.parse()?)
        }
        "ppid" => {
            write!(io::stdout(), "{}", Pid::parent())?;
            Ok(0)
        }
        other => {
            // Anything else is a real command, as an exec's would be.
            let status = Command::new(other).args(rest.split(' ').filter(|w| !w.is_empty())).status()?;
            Ok(u8::try_from(status.code().or(status.signal().map(|s| 128 + s)).unwrap_or(1))?)
        }
    }
}
