//! The wire: each descriptor arrives with its own call, however the stream is cut, and nothing that comes over a
//! socket harms another connection or the container.

use std::{
    io::{IoSlice, Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use protobuf::Message;
use protocol::{
    exit_record::ExitStatus,
    shim::{Empty, ExecRequest, HelloRequest, Phase, WatchRequest, exec_outcome::How},
};
use ttrpc::{Code, MessageHeader, Request, proto::Codec};

use crate::shim_under_test::{
    ShimUnderTest, command, connect, ctx, descriptors, hello, memory, null, pipe, read_all, run_exec, state,
};

/// Calls with descriptors.
const CALLS: u32 = 10_000;

/// Callers at once on one connection.
const CALLERS: u32 = 8;

/// Calls of the raw client, whose stream is cut at random.
const CUT_CALLS: u32 = 2_000;

/// An exec whose command writes the exec's own id and makes no process: what is checked is whose stdout it got.
fn telling(id: &str) -> ExecRequest {
    ExecRequest {
        exec_id: id.into(),
        command: command("/bin/echo", vec!["-n".into(), id.into()]),
        descriptors: 3,
        ..ExecRequest::default()
    }
}

fn assert_told((text, how): &(String, How), id: &str) {
    assert_eq!(text, id);
    assert!(matches!(how, How::Failure(failure) if failure.message.contains(id)), "{id}: {how:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_calls_bring_their_own_descriptors() {
    let shim = Arc::new(ShimUnderTest::running("init=wait").await);
    let pid = shim.child.id();
    let before = descriptors(pid);
    let begin = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let shim = shim.clone();
        callers.spawn(async move {
            for number in (caller..CALLS).step_by(usize::try_from(CALLERS).expect("small")) {
                let id = format!("call-{number}");
                let told = run_exec(&shim.client, &shim.carrier, telling(&id)).await.expect("accepted");
                assert_told(&told, &id);
                // Calls without descriptors come in between, on the same connection.
                hello(&shim.client).await;
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.expect("each call got its own");
    }
    println!("{CALLS} calls with descriptors in {:.1} s", begin.elapsed().as_secs_f64());
    let shim = Arc::into_inner(shim).expect("the callers are done");
    // Fewer may be: the handle of the start command is let go of a moment after its answer.
    assert!(descriptors(pid) <= before, "descriptors are left in the shim");
    let (pss, private) = memory(pid);
    println!(
        "the shim after it: PSS {pss} KiB, private {private} KiB (alone: its program too), {before} descriptors"
    );
    // Little more than the program: no call leaves anything behind.
    assert!(private <= 1024, "{private} KiB are left in the shim");
    end(shim).await;
}

/// A small generator of numbers: the same run every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }
}

/// A frame of a call.
fn frame(stream: u32, method: &str, message: &impl Message) -> Vec<u8> {
    let mut request = Request::new();
    request.service = "taffrail.shim.v1.Shim".into();
    request.method = method.into();
    request.payload = message.write_to_bytes().expect("a message");
    let body = request.encode().expect("a request");
    let header = MessageHeader::new_request(stream, u32::try_from(body.len()).expect("a short frame"));
    [Vec::from(header), body].concat()
}

fn greeting(stream: u32) -> Vec<u8> {
    frame(stream, "Hello", &HelloRequest { lowest: 1, highest: 1, ..HelloRequest::default() })
}

/// Status code and message of the next answer.
fn answer(stream: &mut UnixStream) -> Option<(u32, Code, String)> {
    let mut head = [0; 10];
    stream.read_exact(&mut head).ok()?;
    let header = MessageHeader::from(head);
    let mut body = vec![0; usize::try_from(header.length).expect("a short frame")];
    stream.read_exact(&mut body).ok()?;
    let response = ttrpc::Response::decode(body).expect("a response");
    let status = response.status();
    Some((header.stream_id, status.code(), status.message.clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn descriptors_arrive_with_their_call_wherever_the_stream_is_cut() {
    let shim = ShimUnderTest::running("init=wait").await;
    let before = descriptors(shim.child.id());
    let stream = shim.connect();
    let mut answers = stream.try_clone().expect("a descriptor is left");
    let (calls, mut expected) = std::sync::mpsc::sync_channel::<(String, OwnedFd, OwnedFd)>(64);
    let writer = std::thread::spawn(move || write_cut(stream, &calls));
    let reader = std::thread::spawn(move || {
        for _ in 0..=CUT_CALLS {
            let (_, code, text) = answer(&mut answers).expect("every call is answered");
            assert_eq!(code, Code::OK, "{text}");
        }
    });
    loop {
        let next = tokio::task::spawn_blocking(move || (expected.recv(), expected)).await.expect("no panic");
        expected = next.1;
        let Ok((id, out, outcome)) = next.0 else { break };
        let text = String::from_utf8(read_all(out).await).expect("text");
        let outcome =
            protocol::shim::ExecOutcome::parse_from_bytes(&read_all(outcome).await).expect("an outcome");
        assert_told(&(text, outcome.how.expect("an end")), &id);
    }
    writer.join().expect("all calls were written");
    reader.join().expect("all calls were answered");
    tests::eventually::eventually(tests::limits::SOON, "the connection's descriptors to go", || {
        (descriptors(shim.child.id()) <= before).then_some(())
    });
    end(shim).await;
}

/// Writes calls in parts of random size. A call's descriptors go with its first byte or before it, so a part ends
/// where a call with descriptors begins.
fn write_cut(mut stream: UnixStream, calls: &std::sync::mpsc::SyncSender<(String, OwnedFd, OwnedFd)>) {
    let mut numbers = Numbers(7);
    write_parts(&mut stream, &mut numbers, &greeting(1), &[]);
    for number in 0..CUT_CALLS {
        let id = format!("cut-{number}");
        let (out, out_given) = pipe();
        let (outcome, outcome_given) = pipe();
        let given = [out_given, null(), outcome_given];
        write_parts(&mut stream, &mut numbers, &frame(2 * number + 3, "Exec", &telling(&id)), &given);
        drop(given);
        calls.send((id, out, outcome)).expect("the test goes on");
    }
}

fn write_parts(stream: &mut UnixStream, numbers: &mut Numbers, mut bytes: &[u8], given: &[OwnedFd]) {
    let mut waiting: Vec<i32> = given.iter().map(AsRawFd::as_raw_fd).collect();
    while !bytes.is_empty() {
        let most = if numbers.below(3) == 0 { 3 } else { bytes.len() };
        let part = 1 + numbers.below(most.min(bytes.len()));
        let rights = [ControlMessage::ScmRights(&waiting)];
        let beside: &[ControlMessage<'_>] = if waiting.is_empty() { &[] } else { &rights };
        let sent = sendmsg::<()>(
            stream.as_raw_fd(),
            &[IoSlice::new(&bytes[..part])],
            beside,
            MsgFlags::MSG_NOSIGNAL,
            None,
        );
        bytes = &bytes[sent.expect("the shim reads")..];
        waiting.clear();
    }
}

#[tokio::test]
async fn garbage_closes_its_own_connection_and_nothing_else() {
    let shim = ShimUnderTest::running("init=wait").await;
    let before = descriptors(shim.child.id());
    let mut numbers = Numbers(1);
    for round in 0..200 {
        let mut stream = shim.connect();
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut bytes: Vec<u8> =
            (0..1 + numbers.below(300)).map(|_| u8::try_from(numbers.below(256)).expect("a byte")).collect();
        match round % 4 {
            // A frame of four gigabytes.
            0 => bytes.splice(..bytes.len().min(4), [0xff; 4]).for_each(drop),
            // A whole frame without a meaning.
            1 => {
                let header = MessageHeader::new_request(1, u32::try_from(bytes.len()).expect("short"));
                bytes.splice(..0, Vec::from(header)).for_each(drop);
            }
            // A good call with one bit turned.
            2 => {
                bytes = greeting(1);
                let at = numbers.below(bytes.len());
                bytes[at] ^= 1 << numbers.below(8);
            }
            _ => {}
        }
        // The shim may have closed it halfway.
        drop(stream.write_all(&bytes));
        drop(stream.shutdown(std::net::Shutdown::Write));
        drop(stream.read_to_end(&mut Vec::new()));
    }
    hello(&shim.client).await;
    assert_eq!(shim.state(|_| true).await.phase.enum_value(), Ok(Phase::RUNNING));
    tests::eventually::eventually(tests::limits::SOON, "all of garbage's connections to go", || {
        (descriptors(shim.child.id()) <= before).then_some(())
    });
    end(shim).await;
}

#[tokio::test]
async fn a_call_that_lies_about_its_descriptors_loses_its_connection() {
    let shim = ShimUnderTest::running("init=wait").await;
    let before = descriptors(shim.child.id());
    for count in [3, 4, 5, 1_000_000] {
        let mut stream = shim.connect();
        stream.write_all(&greeting(1)).expect("the shim reads");
        assert_eq!(answer(&mut stream).expect("an answer").1, Code::OK);
        let lie = ExecRequest { descriptors: count, ..telling("lie") };
        let mut numbers = Numbers(3);
        write_parts(&mut stream, &mut numbers, &frame(3, "Exec", &lie), &[null(), null()]);
        assert!(answer(&mut stream).is_none(), "{count} descriptors were believed");
    }
    // Descriptors that no call asks for are bounded too.
    let mut stream = shim.connect();
    stream.write_all(&greeting(1)).expect("the shim reads");
    assert!(answer(&mut stream).is_some());
    let surplus: Vec<OwnedFd> = (0..17).map(|_| null()).collect();
    write_parts(&mut stream, &mut Numbers(3), &[0], &surplus);
    assert!(answer(&mut stream).is_none(), "surplus descriptors were kept");
    tests::eventually::eventually(tests::limits::SOON, "what was sent to be closed", || {
        (descriptors(shim.child.id()) <= before).then_some(())
    });
    end(shim).await;
}

#[tokio::test]
async fn calls_before_hello_unknown_ones_and_bad_ones_are_refused_by_name() {
    let shim = ShimUnderTest::running("init=wait").await;
    let mut stream = shim.connect();
    let mut ask = |method: &str, message: &dyn Fn() -> Vec<u8>| {
        let mut request = Request::new();
        request.service = "taffrail.shim.v1.Shim".into();
        request.method = method.into();
        request.payload = message();
        let body = request.encode().expect("a request");
        let header = MessageHeader::new_request(1, u32::try_from(body.len()).expect("short"));
        stream.write_all(&[Vec::from(header), body].concat()).expect("the shim reads");
        let (_, code, text) = answer(&mut stream).expect("an answer");
        (code, text)
    };
    let none = || Vec::new();
    assert_eq!(ask("Kill", &none), (Code::FAILED_PRECONDITION, "say Hello first".into()));
    let old =
        || HelloRequest { lowest: 7, highest: 9, ..HelloRequest::default() }.write_to_bytes().expect("bytes");
    let (code, text) = ask("Hello", &old);
    assert_eq!(code, Code::FAILED_PRECONDITION);
    assert!(text.contains("7 to 9"), "{text}");
    let present =
        || HelloRequest { lowest: 1, highest: 9, ..HelloRequest::default() }.write_to_bytes().expect("bytes");
    assert_eq!(ask("Hello", &present).0, Code::OK);
    assert_eq!(ask("Fly", &none).0, Code::UNIMPLEMENTED);
    assert_eq!(ask("Signal", &none).0, Code::INVALID_ARGUMENT);
    assert_eq!(ask("Signal", &|| vec![0xff; 9]).0, Code::INVALID_ARGUMENT);
    assert_eq!(ask("Resize", &none).0, Code::FAILED_PRECONDITION);
    assert_eq!(ask("Start", &none).0, Code::FAILED_PRECONDITION);
    assert_eq!(ask("Dismiss", &none).0, Code::FAILED_PRECONDITION);
    end(shim).await;
}

#[tokio::test]
async fn a_reader_that_never_reads_stops_nobody() {
    let shim = ShimUnderTest::running("init=wait").await;
    let mut deaf = shim.connect();
    deaf.set_write_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    deaf.write_all(&greeting(1)).expect("the shim reads");
    let ask = frame(3, "Watch", &WatchRequest::new());
    let mut asked = 0;
    // Until the shim has had enough of answers that nobody takes.
    while deaf.write_all(&ask).is_ok() {
        asked += 1;
        assert!(asked < 1_000_000, "the shim keeps answers without bound");
    }
    let begin = Instant::now();
    hello(&shim.client).await;
    assert!(begin.elapsed() < Duration::from_secs(1));
    end(shim).await;
}

#[tokio::test]
async fn connections_are_bounded_and_the_oldest_stay() {
    let shim = ShimUnderTest::running("init=wait").await;
    let crowd: Vec<UnixStream> = (0..40).map(|_| shim.connect()).collect();
    hello(&shim.client).await;
    drop(crowd);
    let (client, _carrier) =
        tests::eventually::within(tests::limits::SOON, || Some(connect(shim.connect()))).expect("one");
    drop(client);
    hello(&shim.client).await;
    end(shim).await;
}

#[tokio::test]
async fn a_watch_waits_for_the_next_state_and_many_can() {
    let shim = ShimUnderTest::running("init=wait").await;
    let now = shim.state(|_| true).await;
    assert_eq!(now.phase.enum_value(), Ok(Phase::RUNNING));
    let (other, _carrier) = connect(shim.connect());
    hello(&other).await;
    let waiting =
        tokio::spawn(async move { state(&other, |s| s.phase.enum_value() == Ok(Phase::EXITED)).await });
    shim.client.kill(ctx(), &Empty::new()).await.expect("kill");
    let seen = waiting.await.expect("the other watcher is told");
    assert!(seen.sequence > now.sequence && !seen.exit_record.is_empty());
    shim.dismiss().await;
}

async fn end(shim: ShimUnderTest) {
    shim.client.kill(ctx(), &Empty::new()).await.expect("kill");
    assert_eq!(shim.exit().await.status, ExitStatus::Signaled(9));
    shim.dismiss().await;
}
