//! The shim with the real runc: output exact, statuses true, trees killed, terminals, a full disk, out of memory.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use protobuf::MessageField;
use protocol::{
    exit_record::ExitStatus,
    ids::ExecId,
    shim::{
        Cgroups, Empty, ExecRequest, FeedStdinRequest, LaunchRequest, Phase, ResizeRequest, SignalRequest,
        exec_outcome::How,
    },
};
use serde_json::{Value, json};
use tests::{eventually::eventually, host, limits::SOON};

use crate::shim_under_test::{ShimUnderTest, children, command, ctx, pipe, put, run_exec, shown};

/// A real container under a shim; taken down by [`Real::end`], or at the end of a test that failed.
struct Real {
    shim: Option<ShimUnderTest>,
    id: String,
    runc: PathBuf,
}

/// The cgroup under which these tests' containers live.
const PARENT: &str = "taffrail-shim-test";

impl Real {
    /// A container of busybox that is not launched yet, or a skip.
    async fn of(script: &str, change: impl FnOnce(&mut Value)) -> Option<Self> {
        let (Some(runc), Some(busybox)) = (host::find("runc"), host::find("busybox")) else {
            host::skip("runc", "no runc or no busybox here");
            return None;
        };
        if !host::can_run_containers() {
            return None;
        }
        let shim = ShimUnderTest::born("").await;
        let id = format!("t{}-{}", std::process::id(), shim.child.id());
        let root = shim.path("bundle/rootfs");
        for folder in ["bin", "proc", "dev", "tmp"] {
            fs::create_dir_all(root.join(folder)).expect("a root file system");
        }
        fs::copy(&busybox, root.join("bin/busybox")).expect("busybox is copied");
        for name in ["sh", "cat", "sleep", "echo", "head", "seq", "tty", "stty", "kill", "yes", "dd"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("a link");
        }
        let mut spec = spec(script, &id);
        change(&mut spec);
        put(&shim.path("bundle/config.json"), spec.to_string().as_bytes());
        Some(Self { shim: Some(shim), id, runc })
    }

    /// A container that runs.
    async fn running(script: &str, change: impl FnOnce(&mut Value)) -> Option<Self> {
        let real = Self::of(script, change).await?;
        real.run(real.order()).await;
        Some(real)
    }

    async fn run(&self, order: LaunchRequest) {
        let launched = self.shim().launch(order).await;
        assert!(launched.failure.is_none(), "{launched:?}");
        let started = self.shim().start().await;
        assert!(started.failure.is_none(), "{started:?}");
    }

    fn shim(&self) -> &ShimUnderTest {
        self.shim.as_ref().expect("it has not ended")
    }

    fn runc(&self, words: &[&str]) -> MessageField<protocol::shim::Command> {
        let log = shown(&self.shim().run_dir().runtime_log());
        self.runc_logging(&log, words)
    }

    fn runc_logging(&self, log: &str, words: &[&str]) -> MessageField<protocol::shim::Command> {
        let root = shown(&self.shim().path("runtime"));
        let globals = ["--root", &root, "--log", log, "--log-format", "json"];
        let args = globals.iter().chain(words).map(|&word| word.to_owned()).collect();
        command(&shown(&self.runc), args)
    }

    fn order(&self) -> LaunchRequest {
        let shim = self.shim();
        let bundle = shown(&shim.path("bundle"));
        let pid_file = shown(&shim.run_dir().pid_file());
        LaunchRequest {
            create: self.runc(&["create", "--bundle", &bundle, "--pid-file", &pid_file, &self.id]),
            start: self.runc(&["start", &self.id]),
            undo: self.runc(&["delete", "--force", &self.id]),
            cgroups: MessageField::some(self.groups("")),
            ..shim.order()
        }
    }

    /// The container's cgroups, or those of an exec below them.
    fn groups(&self, below: &str) -> Cgroups {
        let path = |hierarchy: &str| {
            let path = Path::new("/sys/fs/cgroup").join(hierarchy).join(PARENT).join(&self.id).join(below);
            shown(&path).trim_end_matches('/').to_owned()
        };
        if host::cgroup_v2_only() {
            Cgroups { unified: path(""), ..Cgroups::default() }
        } else {
            Cgroups { memory: path("memory"), freezer: path("freezer"), ..Cgroups::default() }
        }
    }

    fn exec_request(&self, id: &str, script: &str, timeout_ms: u32) -> ExecRequest {
        let exec = ExecId::parse(id).expect("an id");
        let run_dir = self.shim().run_dir();
        let pid_file = shown(&run_dir.exec_pid_file(&exec));
        let mut words = vec!["exec", "--detach", "--pid-file", &pid_file];
        let (memory, freezer) = (format!("memory:{id}"), format!("freezer:{id}"));
        let placed: &[&str] = if host::cgroup_v2_only() {
            &["--cgroup", id]
        } else {
            &["--cgroup", &memory, "--cgroup", &freezer]
        };
        words.extend(placed);
        words.extend([self.id.as_str(), "/bin/sh", "-c", script]);
        ExecRequest {
            exec_id: id.into(),
            command: self.runc_logging(&shown(&run_dir.exec_log(&exec)), &words),
            timeout_ms,
            descriptors: 3,
            cgroups: MessageField::some(self.groups(id)),
            ..ExecRequest::default()
        }
    }

    async fn exec(&self, id: &str, script: &str, timeout_ms: u32) -> (String, How) {
        let shim = self.shim();
        let request = self.exec_request(id, script, timeout_ms);
        run_exec(&shim.client, &shim.carrier, request).await.expect("the exec is accepted")
    }

    async fn feed(&self) -> OwnedFd {
        let (source, feed) = pipe();
        let request = FeedStdinRequest { descriptors: 1, ..FeedStdinRequest::default() };
        let call = self.shim().client.feed_stdin(ctx(), &request);
        self.shim().carrier.carry(vec![source], call).await.expect("whole").expect("stdin is fed");
        feed
    }

    fn contents(&self) -> Vec<String> {
        self.shim().log().into_iter().map(|(_, _, content)| content).collect()
    }

    /// Waits for the container's end, dismisses the shim, and takes the container down as a daemon would.
    async fn end(mut self) -> protocol::exit_record::ExitRecord {
        let exit = self.shim().exit().await;
        let pid = self.shim().child.id();
        // What was killed is reaped a moment after the end was told.
        eventually(SOON, "the last process to go", || children(pid).is_empty().then_some(()));
        let shim = self.shim.take().expect("it has not ended");
        self.delete(&shim);
        shim.dismiss().await;
        exit
    }

    fn delete(&self, shim: &ShimUnderTest) {
        let root = shown(&shim.path("runtime"));
        drop(Command::new(&self.runc).args(["--root", &root, "delete", "--force", &self.id]).output());
        for hierarchy in fs::read_dir("/sys/fs/cgroup").expect("cgroups").flatten() {
            // One that other tests still use stays.
            drop(fs::remove_dir(hierarchy.path().join(PARENT)));
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        if let Some(shim) = self.shim.take() {
            self.delete(&shim);
        }
    }
}

fn spec(script: &str, id: &str) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "user": {"uid": 0, "gid": 0}, "cwd": "/", "noNewPrivileges": true,
            "args": ["/bin/sh", "-c", script], "env": ["PATH=/bin"],
            "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]}
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "shim-test",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]}
        ],
        "linux": {
            "cgroupsPath": format!("/{PARENT}/{id}"),
            "namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "network"}]
        }
    })
}

fn exited(code: i32) -> How {
    How::Exited(code)
}

#[tokio::test]
async fn a_whole_life() {
    let script =
        "trap 'echo term; exit 9' TERM; echo out; echo err >&2; echo -n tail; while :; do sleep 0.02; done";
    let Some(real) = Real::running(script, |_| {}).await else { return };
    eventually(SOON, "the incomplete line", || real.contents().contains(&"tail".to_owned()).then_some(()));
    let (text, how) = real.exec("one", "echo in exec; exit 42", 0).await;
    assert_eq!((text.as_str(), how), ("in exec\n", exited(42)));
    assert_eq!(real.exec("two", "kill -9 $$", 0).await.1, How::Signaled(9));
    let shim = real.shim();
    shim.client
        .signal(ctx(), &SignalRequest { signal: 15, ..SignalRequest::default() })
        .await
        .expect("a signal");
    shim.state(|state| state.phase.enum_value() == Ok(Phase::EXITED)).await;
    let log = real.shim().log();
    let has =
        |stream: &str, tag: char, content: &str| log.contains(&(stream.to_owned(), tag, content.to_owned()));
    assert!(has("stdout", 'F', "out") && has("stderr", 'F', "err"), "{log:?}");
    assert!(has("stdout", 'P', "tail") && has("stdout", 'F', "term"), "{log:?}");
    assert_eq!(real.end().await.status, ExitStatus::Exited(9));
}

#[tokio::test]
async fn an_exec_out_of_time_is_killed_with_its_whole_tree() {
    let Some(real) = Real::running("sleep 1000", |_| {}).await else { return };
    let begin = Instant::now();
    // Double forks and a new session: nothing but the cgroup knows that these belong together.
    let script = "(setsid sleep 1001 & ) ; (sleep 1002 & ) ; busybox setsid sh -c 'sleep 1003 & sleep 1004' & sleep 1005";
    assert_eq!(real.exec("slow", script, 400).await.1, How::TimedOut(true));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    let (left, how) = real.exec("look", "busybox ps | busybox grep -c '[s]leep 100[1-5]'", 0).await;
    assert_eq!((left.trim(), how), ("0", exited(1)));
    for group in [real.groups("slow").freezer, real.groups("slow").memory, real.groups("slow").unified] {
        assert!(group.is_empty() || !Path::new(&group).exists(), "{group} is left");
    }
    real.shim().client.kill(ctx(), &Empty::new()).await.expect("kill");
    assert_eq!(real.end().await.status, ExitStatus::Signaled(9));
}

#[tokio::test]
async fn many_execs_at_once() {
    let Some(real) = Real::running("sleep 1000", |_| {}).await else { return };
    let shim = real.shim();
    let execs = (0..24).map(|number| {
        let id = format!("many-{number}");
        let request = real.exec_request(&id, &format!("echo {number}; exit {number}"), 0);
        let (client, carrier) = (shim.client.clone(), shim.carrier.clone());
        tokio::spawn(async move { run_exec(&client, &carrier, request).await.expect("accepted") })
    });
    for (number, exec) in execs.collect::<Vec<_>>().into_iter().enumerate() {
        let (text, how) = exec.await.expect("no panic");
        assert_eq!((text, how), (format!("{number}\n"), exited(i32::try_from(number).expect("small"))));
    }
    shim.client.kill(ctx(), &Empty::new()).await.expect("kill");
    real.end().await;
}

#[tokio::test]
async fn a_missing_program_is_told_in_the_runtimes_words() {
    let Some(real) = Real::of("", |spec| spec["process"]["args"] = json!(["/bin/nope"])).await else {
        return;
    };
    let failure = real.shim().launch(real.order()).await.failure.unwrap();
    assert!(failure.message.contains("/bin/nope") && failure.message.contains("no such file"), "{failure:?}");
    let exit = real.end().await;
    assert_eq!((exit.status, exit.message), (ExitStatus::StartFailed, failure.message));
}

#[tokio::test]
async fn stdin_is_fed_to_its_end() {
    let Some(real) = Real::of("cat; echo done", |_| {}).await else { return };
    real.run(LaunchRequest { stdin: true, stdin_once: true, ..real.order() }).await;
    let feed = real.feed().await;
    // More than the pipes hold, so that the shim must wait for the container.
    let lines: String = (0..60_000).map(|number| format!("line {number}\n")).collect();
    let given = lines.clone();
    let writing = tokio::task::spawn_blocking(move || File::from(feed).write_all(given.as_bytes()));
    writing.await.expect("no panic").expect("the shim reads");
    real.shim().state(|state| state.phase.enum_value() == Ok(Phase::EXITED)).await;
    let contents = real.contents();
    assert_eq!(contents.len(), 60_001);
    assert_eq!(contents[..60_000].join("\n") + "\n", lines);
    assert_eq!(contents[60_000], "done");
    assert_eq!(real.end().await.status, ExitStatus::Exited(0));
}

#[tokio::test]
async fn a_terminal_is_a_terminal() {
    let script = "stty size; read answer; echo got $answer; stty size; exit 5";
    let Some(real) = Real::of(script, |spec| spec["process"]["terminal"] = json!(true)).await else { return };
    let console = shown(&real.shim().run_dir().console_socket());
    let mut order = real.order();
    let create = order.create.as_mut().expect("there is a create");
    create.args.splice(7..7, ["--console-socket".to_owned(), console]);
    real.run(LaunchRequest { terminal: true, stdin: true, ..order }).await;
    let size = ResizeRequest { columns: 91, rows: 17, ..ResizeRequest::default() };
    real.shim().client.resize(ctx(), &size).await.expect("it is a terminal");
    let feed = real.feed().await;
    File::from(feed).write_all(b"hello\n").expect("the shim reads");
    real.shim().state(|state| state.phase.enum_value() == Ok(Phase::EXITED)).await;
    let contents = real.contents();
    assert!(contents.iter().any(|line| line.trim_end() == "got hello"), "{contents:?}");
    assert!(contents.iter().any(|line| line.trim_end() == "17 91"), "{contents:?}");
    assert_eq!(real.end().await.status, ExitStatus::Exited(5));
}

#[tokio::test]
async fn no_byte_is_lost_or_doubled_over_rotations() {
    // Waits for the last rotation, so that a fast container cannot end before it.
    let script = "n=0; while [ $n -lt 200 ]; do seq 1 1000; n=$((n+1)); done; read go; echo end";
    let Some(real) = Real::of(script, |_| {}).await else { return };
    real.run(LaunchRequest { stdin: true, ..real.order() }).await;
    let log = real.shim().path("logs/0.log");
    let rotated = |number: u32| real.shim().path(&format!("logs/0.log.{number:03}"));
    for number in 0..50 {
        fs::rename(&log, rotated(number)).expect("the log is there");
        real.shim().client.reopen_log(ctx(), &Empty::new()).await.expect("reopen");
        assert!(log.exists(), "answered before the new log was there");
        let size = fs::metadata(rotated(number)).expect("rotated").len();
        real.shim().client.reopen_log(ctx(), &Empty::new()).await.expect("again is nothing");
        assert_eq!(fs::metadata(rotated(number)).expect("rotated").len(), size, "the old log went on");
    }
    let feed = real.feed().await;
    File::from(feed).write_all(b"go\n").expect("the shim reads");
    real.shim().state(|state| state.phase.enum_value() == Ok(Phase::EXITED)).await;
    let mut text = String::new();
    for path in (0..50).map(rotated).chain([log]) {
        File::open(path).expect("a log").read_to_string(&mut text).expect("text");
    }
    let mut lines = text.lines().map(crate::shim_under_test::record);
    for _ in 0..200 {
        for number in 1..=1000 {
            let (_, tag, content) = lines.next().expect("a line");
            assert_eq!((tag, content), ('F', number.to_string()));
        }
    }
    assert_eq!(lines.next().expect("a line").2, "end");
    assert_eq!(lines.next(), None);
    real.end().await;
}

/// A small file system, unmounted at the end.
struct Small(PathBuf);

impl Small {
    fn mount(path: PathBuf, options: &str) -> Self {
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), Some(options))
            .expect("a tmpfs is mounted");
        Self(path)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).ok();
    }
}

#[tokio::test]
async fn a_full_disk_blocks_nobody_and_every_lost_byte_is_counted() {
    let script = "n=0; while [ $n -lt 100 ]; do seq 1 1000; n=$((n+1)); done; read go; echo after";
    let Some(real) = Real::of(script, |_| {}).await else { return };
    let _small = Small::mount(real.shim().path("logs"), "size=256k");
    real.run(LaunchRequest { stdin: true, ..real.order() }).await;
    let feed = real.feed().await;
    let produced: u64 =
        100 * (1..=1000u64).map(|n| u64::try_from(n.to_string().len()).expect("small") + 1).sum::<u64>();
    let log = real.shim().path("logs/0.log");
    // The container writes all of it though most of it has no room.
    let lost = real.shim().path("logs/0.log.1");
    let state = || async { real.shim().state(|_| true).await.log_bytes_lost };
    let mut looks = 0;
    let kept = |path: &Path| -> u64 {
        let text = fs::read_to_string(path).unwrap_or_default();
        let payload = |line: &str| {
            let (_, tag, content) = crate::shim_under_test::record(line);
            let marker = content.starts_with("[taffrail]");
            if marker { 0 } else { u64::try_from(content.len()).expect("small") + u64::from(tag == 'F') }
        };
        assert!(text.is_empty() || text.ends_with('\n'), "a torn record is left");
        text.lines().map(payload).sum()
    };
    while state().await + kept(&log) < produced {
        looks += 1;
        assert!(looks < 2000, "the container is blocked");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(state().await + kept(&log), produced);
    // Room again: the marker comes, and then what follows.
    fs::rename(&log, &lost).expect("the log is there");
    fs::remove_file(&lost).expect("room is made");
    real.shim().client.reopen_log(ctx(), &Empty::new()).await.expect("reopen");
    File::from(feed).write_all(b"go\n").expect("the shim reads");
    real.shim().state(|state| state.phase.enum_value() == Ok(Phase::EXITED)).await;
    let text = fs::read_to_string(&log).expect("the new log");
    let total = state().await;
    assert!(text.contains(&format!("[taffrail] {total} bytes of output lost")), "{text}");
    assert_eq!(real.end().await.status, ExitStatus::Exited(0));
}

#[tokio::test]
async fn a_kill_for_want_of_memory_is_counted() {
    let change = |spec: &mut Value| {
        spec["linux"]["resources"] = json!({"memory": {"limit": 16 << 20, "swap": 16 << 20}});
    };
    let script = "x=$(dd if=/dev/zero bs=1M count=64 2>/dev/null | busybox tr '\\0' x); echo survived";
    let Some(real) = Real::of(script, change).await else { return };
    real.run(real.order()).await;
    let state = real.shim().state(|state| state.phase.enum_value() == Ok(Phase::EXITED)).await;
    assert!(state.oom_kills >= 1, "{state:?}");
    let exit = real.end().await;
    assert!(exit.oom_kills >= 1 && exit.status != ExitStatus::Exited(0), "{exit:?}");
}

#[tokio::test]
async fn a_child_killed_for_want_of_memory_is_told_while_the_container_runs() {
    let change = |spec: &mut Value| {
        spec["linux"]["resources"] = json!({"memory": {"limit": 16 << 20, "swap": 16 << 20}});
    };
    let script = "sh -c \"x=\\$(dd if=/dev/zero bs=1M count=64 2>/dev/null | busybox tr '\\\\0' x)\"; echo survived; read go";
    let Some(real) = Real::of(script, change).await else { return };
    real.run(LaunchRequest { stdin: true, ..real.order() }).await;
    let state = real.shim().state(|state| state.oom_kills >= 1).await;
    assert_eq!(state.phase.enum_value(), Ok(Phase::RUNNING));
    real.shim().client.close_stdin(ctx(), &Empty::new()).await.expect("stdin is open");
    let exit = real.end().await;
    assert!(exit.oom_kills >= 1, "{exit:?}");
}

#[tokio::test]
async fn leftovers_of_a_container_in_the_hosts_pid_namespace_are_killed() {
    let change = |spec: &mut Value| {
        spec["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "ipc"}]);
        spec["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
        spec.as_object_mut().expect("an object").remove("hostname");
    };
    let Some(real) = Real::of("sleep 1234 & sleep 1234 & exit 3", change).await else { return };
    real.run(LaunchRequest { kill_leftovers: true, ..real.order() }).await;
    assert_eq!(real.end().await.status, ExitStatus::Exited(3));
}
