//! No status is lost, none is given to the wrong container, whatever order a runtime's processes end in.

use std::{fs, sync::Arc, time::Instant};

use protocol::{
    client::ShimClient,
    exit_record::{ExitRecord, ExitStatus},
    shim::{Empty, Phase, exec_outcome::How},
};
use tests::host;

use crate::shim_under_test::{
    ID, ShimUnderTest, children, command, ctx, descriptors, exec_request, kill, put, run_exec, shown,
};

/// Exits that come at once, of commands in one container.
const INSTANT_EXITS: u32 = 10_000;

/// Containers that end at once: each costs a shim. The full run makes as many as there are exits.
const INSTANT_CONTAINERS: u32 = 150;

/// Execs in flight at once: enough that commands always overlap, so no orphan is ever alone.
const AT_ONCE: u32 = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_instant_exits_keep_their_own_status() {
    let shim = Arc::new(ShimUnderTest::running("init=wait").await);
    let before = descriptors(shim.child.id());
    let begin = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..AT_ONCE {
        let shim = shim.clone();
        workers.spawn(async move {
            for number in (worker..INSTANT_EXITS).step_by(usize::try_from(AT_ONCE).expect("small")) {
                let code = number % 251;
                let (program, expected) = match number % 10 {
                    7 => ("signal 9".to_owned(), How::Signaled(9)),
                    8 => (format!("orphans {code}"), How::Exited(i32::try_from(code).expect("small"))),
                    _ => (format!("exit {code}"), How::Exited(i32::try_from(code).expect("small"))),
                };
                let request = exec_request(&shim, &format!("e{number}"), &program, 0);
                let (_, how) = run_exec(&shim.client, &shim.carrier, request).await.expect("accepted");
                assert_eq!(how, expected, "exec {number}: {program}");
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.expect("each worker's statuses are right");
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("{INSTANT_EXITS} instant exits in {seconds:.1} s");
    let shim = Arc::into_inner(shim).expect("the workers are done");
    shim.client.kill(ctx(), &Empty::new()).await.expect("kill");
    assert_eq!(shim.exit().await.status, ExitStatus::Signaled(9));
    assert!(children(shim.child.id()).is_empty(), "orphans are left");
    let left: Vec<_> = fs::read_dir(shim.path("run")).expect("the run directory").flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().contains("exec-")), "{left:?}");
    // Init's pidfd and the two streams are gone by now.
    assert!(descriptors(shim.child.id()) <= before, "descriptors are left");
    shim.dismiss().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_that_end_at_once_keep_their_own_status() {
    let count = if host::full() { INSTANT_EXITS } else { INSTANT_CONTAINERS };
    let begin = Instant::now();
    for number in 0..count {
        let code = u8::try_from(number % 251).expect("small");
        let (program, expected) = match number % 5 {
            4 => ("signal 15".to_owned(), ExitStatus::Signaled(15)),
            3 => (format!("orphans {code}"), ExitStatus::Exited(code)),
            _ => (format!("exit {code}"), ExitStatus::Exited(code)),
        };
        let shim = ShimUnderTest::running(&format!("init={program}")).await;
        let exit = shim.exit().await;
        assert_eq!(exit.status, expected, "container {number}");
        assert!(exit.at >= exit.started_at && exit.started_at > 0);
        shim.dismiss().await;
    }
    println!("{count} containers in {:.1} s", begin.elapsed().as_secs_f64());
}

#[tokio::test]
async fn an_init_that_ends_before_create_does_is_not_lost() {
    for code in [0, 7, 255] {
        let shim = ShimUnderTest::born(&format!("when=at-create\ninit=exit {code}")).await;
        let launched = shim.launch(shim.order()).await;
        assert!(launched.failure.is_none(), "{launched:?}");
        let exit = shim.exit().await;
        assert_eq!((exit.status, exit.started_at), (ExitStatus::Exited(code), 0));
        shim.dismiss().await;
    }
}

/// Launches with this script; the failure that must come of it, with nothing left behind.
async fn fails(script: &str, expected: &str) -> protocol::shim::Failure {
    let shim = ShimUnderTest::born(script).await;
    let mut order = shim.order();
    order.create.as_mut().expect("there is a create").timeout_ms = 700;
    let launched = shim.launch(order).await;
    let failure = launched.failure.into_option().unwrap_or_else(|| panic!("{script} did not fail"));
    assert!(failure.message.contains(expected), "{script}: {failure:?}");
    assert_eq!(failure.step, "create");
    let exit = shim.exit().await;
    assert_eq!(exit.status, ExitStatus::StartFailed, "{script}");
    assert_eq!(exit.message, failure.message);
    assert!(shim.path("bundle/deleted").exists(), "{script}: undo did not run");
    assert!(children(shim.child.id()).is_empty(), "{script}: processes are left");
    assert_eq!(shim.log(), [], "{script}: the runtime's words are in the container's log");
    shim.dismiss().await;
    failure
}

#[tokio::test]
async fn a_create_that_lies_or_dies_leaves_nothing() {
    fails("create=fail\nmessage=no such file: \"x\"", "no such file: \"x\"").await;
    fails("create=loud\nmessage=thread panicked", "thread panicked").await;
    fails("pid=dead", "the runtime names process").await;
    fails("pid=foreign", "no child of ours").await;
    fails("pid=garbage", "holds no process id").await;
    fails("pid=none", "pid file").await;
    fails("create=die", "signal 9 ended the runtime").await;
    fails("create=die\nwhen=at-create\ninit=orphans 3", "signal 9").await;
    fails("create=die\nwhen=at-create\ninit=fork 3", "signal 9").await;
    let hung = fails("create=hang", "did not end within 700 ms").await;
    assert!(hung.timed_out);
    assert!(fails("create=hang-tree", "did not end").await.timed_out);
}

#[tokio::test]
async fn a_foreign_process_in_the_pid_file_is_never_touched() {
    // It names the shim's parent: this very process, which must live to see the end of this test.
    fails("pid=foreign", "no child of ours").await;
}

#[tokio::test]
async fn a_runtime_that_is_not_there_is_named() {
    let shim = ShimUnderTest::born("").await;
    let mut order = shim.order();
    order.create = command("/nonexistent/runtime", vec![]);
    let failure = shim.launch(order).await.failure.unwrap();
    assert!(failure.message.contains("/nonexistent/runtime cannot be started"), "{failure:?}");
    assert_eq!(shim.exit().await.status, ExitStatus::StartFailed);
    shim.dismiss().await;
}

#[tokio::test]
async fn a_start_that_fails_or_hangs_ends_the_container() {
    for (script, expected) in
        [("start=fail\nmessage=exec format error", "exec format error"), ("start=hang", "did not end")]
    {
        let shim = ShimUnderTest::born(script).await;
        let mut order = shim.order();
        order.start.as_mut().expect("there is a start").timeout_ms = 700;
        assert!(shim.launch(order).await.failure.is_none());
        let failure = shim.start().await.failure.unwrap();
        assert!(failure.message.contains(expected), "{failure:?}");
        assert_eq!(failure.timed_out, script.contains("hang"));
        let exit = shim.exit().await;
        assert_eq!(exit.status, ExitStatus::StartFailed);
        assert!(exit.message.contains(expected) && exit.message.contains("signal 9"), "{}", exit.message);
        assert!(children(shim.child.id()).is_empty());
        shim.dismiss().await;
    }
}

#[tokio::test]
async fn a_kill_before_the_start_is_no_exit_status_of_the_program() {
    let shim = ShimUnderTest::born("").await;
    shim.launch(shim.order()).await;
    shim.client.kill(ctx(), &Empty::new()).await.expect("kill");
    assert_eq!(shim.exit().await.status, ExitStatus::NeverStarted);
    shim.dismiss().await;
}

#[tokio::test]
async fn an_exec_that_misbehaves_is_reported_and_harms_no_other() {
    let mut shim = ShimUnderTest::running("init=wait\nexec=ok\nprocess=exit 3").await;
    let script = shim.path("bundle/fake-runtime");
    let with = |text: &str| put(&script, format!("init=wait\n{text}").as_bytes());
    for (text, expected) in [
        ("exec=fail\nmessage=no such container", "no such container"),
        ("exec=die", "signal 9"),
        ("pid=dead", "names process"),
        ("pid=foreign", "no child of ours"),
        ("pid=garbage", "holds no process id"),
        ("pid=none", "pid file"),
    ] {
        with(text);
        let (_, how) = shim.exec("exit 3", 0).await;
        assert!(matches!(&how, How::Failure(f) if f.message.contains(expected)), "{text}: {how:?}");
    }
    with("exec=hang");
    assert_eq!(shim.exec("exit 3", 300).await.1, How::TimedOut(true));
    with("");
    assert_eq!(shim.exec("wait", 300).await.1, How::TimedOut(true));
    assert_eq!(shim.exec("exit 3", 5000).await.1, How::Exited(3));
    // The whole tree: had a grandchild been left, it would hold stdout and the exec would not come back.
    assert_eq!(shim.exec("/bin/sh -c sleep${IFS}1000&wait", 300).await.1, How::TimedOut(true));
    let init = shim.state(|_| true).await.init_pid;
    assert!(children(shim.child.id()).contains(&init), "init was harmed");
    kill(init);
    assert_eq!(shim.exit().await.status, ExitStatus::Signaled(9));
    let refused = shim.run_exec_after_end().await;
    assert!(refused.contains("exec: not while"), "{refused}");
    shim.dismiss().await;
}

impl ShimUnderTest {
    async fn run_exec_after_end(&mut self) -> String {
        let request = self.exec_request("exit 0", 0);
        self.run_exec(request).await.expect_err("it has ended").to_string()
    }
}

#[tokio::test]
async fn a_grandchild_that_holds_the_streams_delays_the_exit_no_longer_than_told() {
    let shim = ShimUnderTest::running("init=fork 5").await;
    let grandchild = || children(shim.child.id());
    let begin = Instant::now();
    assert_eq!(shim.exit().await.status, ExitStatus::Exited(5));
    assert!(begin.elapsed().as_secs() < 5);
    grandchild().into_iter().for_each(kill);
    shim.dismiss().await;
}

#[tokio::test]
async fn a_second_shim_and_a_second_launch_are_refused() {
    let first = ShimUnderTest::running("init=wait").await;
    let again = first.client.launch(ctx(), &first.order()).await.expect_err("it has a container");
    assert!(again.to_string().contains("launch: not while"), "{again}");
    let second = ShimUnderTest::born("").await;
    let stolen = second.client.launch(ctx(), &first.order()).await.expect_err("the lock is held");
    assert!(stolen.to_string().contains("another shim supervises this container"), "{stolen}");
    // It is as if it had never been asked.
    assert!(second.launch(second.order()).await.failure.is_none());
    end(&second.client).await;
    second.exit().await;
    second.dismiss().await;
    end(&first.client).await;
    first.exit().await;
    first.dismiss().await;
}

async fn end(client: &ShimClient) {
    client.kill(ctx(), &Empty::new()).await.expect("kill");
}

#[tokio::test]
async fn a_shim_without_an_order_leaves_with_its_daemon() {
    let mut shim = ShimUnderTest::born("").await;
    let (client, carrier) =
        crate::shim_under_test::connect(std::os::unix::net::UnixStream::pair().expect("a pair").0);
    // Drops the connection that the shim was born with.
    shim.client = client;
    shim.carrier = carrier;
    assert!(crate::shim_under_test::wait(&mut shim.child).await.success());
}

#[tokio::test]
async fn a_container_outlives_every_connection() {
    let mut shim = ShimUnderTest::running("init=wait").await;
    let (client, carrier) = crate::shim_under_test::connect(shim.connect());
    shim.client = client;
    shim.carrier = carrier;
    shim.hello().await;
    let state = shim.state(|_| true).await;
    assert_eq!(state.phase.enum_value(), Ok(Phase::RUNNING));
    assert_eq!(shim.exec("exit 4", 0).await.1, How::Exited(4));
    end(&shim.client).await;
    assert_eq!(shim.exit().await.status, ExitStatus::Signaled(9));
    assert!(shown(&shim.path("run")).contains('/') && !ID.is_empty());
    shim.dismiss().await;
}

#[tokio::test]
async fn an_end_is_told_only_when_it_is_on_disk() {
    let shim = ShimUnderTest::running("init=wait").await;
    fs::remove_dir_all(shim.path("state")).expect("the folder of records goes");
    put(&shim.path("state"), b"in its way");
    end(&shim.client).await;
    let state = shim.state(|state| state.phase.enum_value() == Ok(Phase::DRAINING)).await;
    assert!(state.exit_record.is_empty());
    // The record is tried again until it can be written; whoever waits, waits.
    fs::remove_file(shim.path("state")).expect("it is there");
    fs::create_dir(shim.path("state")).expect("the folder comes back");
    assert_eq!(shim.exit().await.status, ExitStatus::Signaled(9));
    shim.dismiss().await;
}

#[tokio::test]
async fn an_end_of_a_container_that_somebody_removed_is_told_and_not_written() {
    let shim = ShimUnderTest::running("init=wait").await;
    fs::remove_dir_all(shim.path("state")).expect("the folder of the record goes");
    end(&shim.client).await;
    let state = shim.state(|state| state.phase.enum_value() == Ok(Phase::EXITED)).await;
    let told = ExitRecord::decode(&state.exit_record).expect("what is told is a record");
    assert_eq!(told.status, ExitStatus::Signaled(9));
    assert!(!shim.path("state").exists());
    // It does not stay for ever.
    shim.dismiss().await;
}

#[tokio::test]
async fn a_removed_log_is_made_anew() {
    let shim = ShimUnderTest::born("").await;
    let program = shim.path("bundle/program");
    put(&program, b"while :; do echo x; sleep 0.05; done");
    put(&shim.path("bundle/fake-runtime"), format!("init=/bin/sh {}", shown(&program)).as_bytes());
    shim.launch(shim.order()).await;
    assert!(shim.start().await.failure.is_none());
    let log = shim.path("logs/0.log");
    tests::eventually::eventually(tests::limits::SOON, "the first line", || {
        fs::metadata(&log).ok().filter(|m| m.len() > 0)
    });
    fs::remove_file(&log).expect("the log is there");
    tests::eventually::eventually(tests::limits::SOON, "a new log", || {
        fs::metadata(&log).ok().filter(|m| m.len() > 0)
    });
    end(&shim.client).await;
    children(shim.child.id()).into_iter().for_each(kill);
    shim.exit().await;
    shim.dismiss().await;
}
