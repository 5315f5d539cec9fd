//! Launches the real shim by hand, as the daemon would: a socket as standard input, the wire's async client over a
//! socket that carries descriptors.
//!
//! Owns: one shim, its folders, and the bundle of its fake runtime. Never: a check; those are the tests'.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use protobuf::{Message, MessageField};
use protocol::{
    client::ShimClient,
    exit_record::ExitRecord,
    ids::ExecId,
    rundir::RunDir,
    shim::{
        self, Empty, ExecOutcome, ExecRequest, HelloRequest, LaunchRequest, LaunchResponse, Phase,
        StartRequest, StartResponse, State, WatchRequest, exec_outcome::How,
    },
    version,
};
use tempfile::TempDir;
use tests::{host, limits::SOON};
use ttrpc::context::{self, Context};

use crate::fd_socket::{Carrier, FdSocket};

/// One shim.
pub struct ShimUnderTest {
    pub dir: TempDir,
    pub child: Child,
    pub client: ShimClient,
    pub carrier: Carrier,
    execs: u64,
}

/// The container's id in these tests.
pub const ID: &str = "0123456789abcdef";

/// The static shim: TAFFRAIL_SHIM_BIN, else what `make build` left.
pub fn program() -> PathBuf {
    let left = || host::workspace().join("target/dist/taffrail-shim");
    let path = std::env::var_os("TAFFRAIL_SHIM_BIN").map_or_else(left, PathBuf::from);
    assert!(path.is_file(), "{} is not there: run `make build`, or set TAFFRAIL_SHIM_BIN", path.display());
    path
}

/// A call without a deadline of its own: an answer that does not come fails the test by the test's own.
pub fn ctx() -> Context {
    context::with_timeout(0)
}

impl ShimUnderTest {
    /// A shim that was just born, with this script for its fake runtime.
    pub async fn born(script: &str) -> Self {
        Self::born_of(Command::new(program()), script).await
    }

    /// A shim that this command becomes.
    pub async fn born_of(mut command: Command, script: &str) -> Self {
        let dir = tempfile::tempdir().expect("a scratch folder");
        for folder in ["run", "bundle", "logs", "state", "runtime"] {
            fs::create_dir(dir.path().join(folder)).expect("a scratch folder");
        }
        put(&dir.path().join("bundle/fake-runtime"), script.as_bytes());
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, its) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, flags).expect("a pair of sockets");
        command.stdin(Stdio::from(its)).stdout(Stdio::null()).stderr(Stdio::inherit());
        let child = command.spawn().expect("the shim starts");
        let (client, carrier) = connect(UnixStream::from(ours));
        let shim = Self { dir, child, client, carrier, execs: 0 };
        shim.hello().await;
        shim
    }

    /// A shim whose container runs.
    pub async fn running(script: &str) -> Self {
        let shim = Self::born(script).await;
        let launched = shim.launch(shim.order()).await;
        assert!(launched.failure.is_none(), "{launched:?}");
        let started = shim.start().await;
        assert!(started.failure.is_none(), "{started:?}");
        shim
    }

    pub async fn hello(&self) {
        hello(&self.client).await;
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn run_dir(&self) -> RunDir {
        RunDir::new(self.path("run"))
    }

    /// The order to launch, to be changed by the test.
    pub fn order(&self) -> LaunchRequest {
        let text = |name: &str| self.path(name).to_string_lossy().into_owned();
        let run_dir = self.run_dir();
        let pid_file = run_dir.pid_file();
        LaunchRequest {
            container_id: ID.into(),
            run_dir: text("run"),
            exit_record: text("state/exit"),
            create: self.fake(&["create", "--bundle", &text("bundle"), "--pid-file", &shown(&pid_file), ID]),
            start: self.fake(&["start", ID]),
            undo: self.fake(&["delete", "--force", ID]),
            log_path: text("logs/0.log"),
            drain_ms: 200,
            ..LaunchRequest::default()
        }
    }

    /// A command line of the fake runtime.
    pub fn fake(&self, words: &[&str]) -> MessageField<shim::Command> {
        let mut args = vec!["--root".to_owned(), shown(&self.path("runtime"))];
        args.extend(["--log".to_owned(), shown(&self.run_dir().runtime_log())]);
        args.extend(["--log-format".to_owned(), "json".to_owned()]);
        args.extend(words.iter().map(|&word| word.to_owned()));
        command(&shown(&fake_runtime()), args)
    }

    pub async fn launch(&self, order: LaunchRequest) -> LaunchResponse {
        self.client.launch(ctx(), &order).await.expect("launch is answered")
    }

    pub async fn start(&self) -> StartResponse {
        self.client.start(ctx(), &StartRequest::new()).await.expect("start is answered")
    }

    /// The first state that satisfies the test.
    pub async fn state(&self, until: impl Fn(&State) -> bool) -> State {
        state(&self.client, until).await
    }

    /// Waits for the container's end; what the wire and the disk say must agree.
    pub async fn exit(&self) -> ExitRecord {
        let state = self.state(|state| state.phase.enum_value() == Ok(Phase::EXITED)).await;
        let disk = fs::read(self.path("state/exit")).expect("the exit record is on disk");
        assert_eq!(state.exit_record, disk);
        ExitRecord::decode(&disk).expect("the exit record is whole")
    }

    /// Runs a program of the fake runtime's in the container; its stdout and how it ended.
    pub async fn exec(&mut self, program: &str, timeout_ms: u32) -> (String, How) {
        let request = self.exec_request(program, timeout_ms);
        self.run_exec(request).await.expect("the exec is accepted")
    }

    pub fn exec_request(&mut self, program: &str, timeout_ms: u32) -> ExecRequest {
        self.execs += 1;
        exec_request(self, &format!("exec-{}", self.execs), program, timeout_ms)
    }

    pub async fn run_exec(&self, request: ExecRequest) -> ttrpc::Result<(String, How)> {
        run_exec(&self.client, &self.carrier, request).await
    }

    /// Container records of the log, without stamps: `(stream, tag, content)`.
    pub fn log(&self) -> Vec<(String, char, String)> {
        let text = fs::read_to_string(self.path("logs/0.log")).expect("there is a log");
        text.lines().map(record).collect()
    }

    /// Dismisses the shim and waits for its end.
    pub async fn dismiss(mut self) {
        self.client.dismiss(ctx(), &Empty::new()).await.expect("the shim may leave");
        let status = wait(&mut self.child).await;
        assert!(status.success(), "the shim left with {status}");
        assert!(!self.run_dir().socket().exists(), "the control socket is left");
    }

    /// A new connection through the control socket.
    pub fn connect(&self) -> UnixStream {
        let dir = File::open(self.path("run")).expect("the run directory");
        let path = format!("/proc/self/fd/{}/{}", std::os::fd::AsRawFd::as_raw_fd(&dir), RunDir::SOCKET);
        UnixStream::connect(path).expect("the control socket takes connections")
    }
}

impl Drop for ShimUnderTest {
    fn drop(&mut self) {
        // A test that failed; one that succeeded has dismissed it.
        for pid in children(self.child.id()) {
            kill(pid);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The wire's client over a socket.
pub fn connect(stream: UnixStream) -> (ShimClient, Carrier) {
    let (socket, carrier) = FdSocket::new(stream).expect("the socket is wrapped");
    let client = ttrpc::r#async::Client::new(ttrpc::r#async::transport::Socket::new(socket));
    (ShimClient::new(client), carrier)
}

pub async fn hello(client: &ShimClient) {
    let request = HelloRequest {
        lowest: version::LOWEST,
        highest: version::HIGHEST,
        features: vec![version::FEATURE_DESCRIPTORS.into()],
        ..HelloRequest::default()
    };
    let answer =
        tokio::time::timeout(SOON, client.hello(ctx(), &request)).await.expect("Hello is answered in time");
    let answer = answer.expect("Hello is answered");
    assert_eq!(answer.version, version::HIGHEST);
}

pub async fn state(client: &ShimClient, until: impl Fn(&State) -> bool) -> State {
    let looking = async {
        let mut after = 0;
        loop {
            let request = WatchRequest { after, ..WatchRequest::default() };
            let state = client.watch(ctx(), &request).await.expect("watch is answered");
            if until(&state) {
                return state;
            }
            after = state.sequence;
        }
    };
    tokio::time::timeout(SOON, looking).await.expect("the state comes in time")
}

/// An exec of the fake runtime's.
pub fn exec_request(shim: &ShimUnderTest, id: &str, program: &str, timeout_ms: u32) -> ExecRequest {
    let exec = ExecId::parse(id).expect("an exec id");
    let run_dir = shim.run_dir();
    let mut args = vec!["--root".to_owned(), shown(&shim.path("runtime"))];
    args.extend(["--log".to_owned(), shown(&run_dir.exec_log(&exec))]);
    args.extend(["exec", "--detach", "--pid-file"].map(str::to_owned));
    args.push(shown(&run_dir.exec_pid_file(&exec)));
    args.push(ID.into());
    args.push(program.to_owned());
    ExecRequest {
        exec_id: id.into(),
        command: command(&shown(&fake_runtime()), args),
        timeout_ms,
        descriptors: 3,
        ..ExecRequest::default()
    }
}

/// Runs an exec; its stdout and how it ended.
pub async fn run_exec(
    client: &ShimClient,
    carrier: &Carrier,
    request: ExecRequest,
) -> ttrpc::Result<(String, How)> {
    let (out, out_given) = pipe();
    let (outcome, outcome_given) = pipe();
    let given = vec![out_given, null(), outcome_given];
    carrier.carry(given, client.exec(ctx(), &request)).await.expect("the connection is whole")?;
    let text = read_all(out).await;
    let outcome = ExecOutcome::parse_from_bytes(&read_all(outcome).await).expect("the outcome is whole");
    Ok((String::from_utf8(text).expect("text"), outcome.how.expect("the outcome says how it ended")))
}

pub async fn read_all(from: OwnedFd) -> Vec<u8> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        File::from(from).read_to_end(&mut bytes).expect("a pipe can be read");
        bytes
    });
    tokio::time::timeout(SOON, reading).await.expect("the end comes in time").expect("nobody panics there")
}

pub fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe")
}

pub fn null() -> OwnedFd {
    File::options().read(true).write(true).open("/dev/null").expect("/dev/null").into()
}

pub fn command(program: &str, args: Vec<String>) -> MessageField<shim::Command> {
    let timeout_ms = u32::try_from(SOON.as_millis()).expect("a short time");
    MessageField::some(shim::Command {
        program: program.into(),
        args,
        timeout_ms,
        ..shim::Command::default()
    })
}

pub fn fake_runtime() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_fake_runtime"))
}

pub fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

pub fn put(path: &Path, bytes: &[u8]) {
    File::create(path).and_then(|mut file| file.write_all(bytes)).expect("a scratch file");
}

/// A record without its stamp.
pub fn record(line: &str) -> (String, char, String) {
    let mut parts = line.splitn(4, ' ');
    let stamp = parts.next().expect("a stamp");
    assert!(stamp.len() == 30 && stamp.ends_with('Z'), "{line:?}");
    let stream = parts.next().expect("a stream").to_owned();
    let tag = parts.next().and_then(|tag| tag.chars().next()).expect("a tag");
    (stream, tag, parts.next().expect("a content").to_owned())
}

/// Waits for a child, with a deadline.
pub async fn wait(child: &mut Child) -> std::process::ExitStatus {
    let waiting = async {
        loop {
            if let Some(status) = child.try_wait().expect("it is our child") {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.expect("it ends in time")
}

/// Children of a process.
pub fn children(pid: u32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

pub fn kill(pid: i32) {
    // It may have ended already.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).ok();
}

/// Memory of a process in KiB from `smaps_rollup`: proportional set size, and private.
pub fn memory(pid: u32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the process lives");
    let field = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a field of smaps_rollup");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    (field("Pss:"), field("Private_Clean:") + field("Private_Dirty:"))
}

/// Open descriptors of a process.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives").count()
}
