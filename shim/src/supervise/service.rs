//! What each call of the wire does.
//!
//! Owns: the order of checks of a call. Never: reads a frame; waits for what it began.

use std::os::fd::OwnedFd;

use protobuf::Message;
use protocol::{
    shim::{Empty, ExecRequest, ExecResponse, HelloRequest, HelloResponse, LaunchRequest},
    version,
};

use super::{
    control::{Call, Encode, Refusal, Ticket},
    launch::Launch,
    machine::{Event, State},
    supervisor::Supervisor,
};
use crate::{
    fault::Because,
    steps,
    sys::{birth, terminal},
};

/// Highest signal number of Linux.
const SIGNAL_MAX: u32 = 64;

/// Does what a call asks, and answers it, or leaves it to be answered when that is done.
pub(crate) fn serve(shim: &mut Supervisor, ticket: Ticket, call: Call) {
    let is_greeting = matches!(call, Call::Hello(_));
    if !is_greeting && !shim.control.is_greeted(ticket) {
        return shim.answer(ticket, Err(Refusal::not_now("say Hello first")));
    }
    let done = match call {
        Call::Hello(request) => return hello(shim, ticket, &request),
        Call::Launch(request) => match launch(shim, ticket, *request) {
            Ok(()) => return,
            Err(refusal) => Err(refusal),
        },
        Call::Start if shim.refuses(Event::Start) => Err(wrong_time(shim, "start")),
        Call::Start => return shim.start(ticket),
        Call::Watch(after) => return watch(shim, ticket, after),
        Call::Exec(request, descriptors) => match exec(shim, *request, descriptors) {
            Ok(()) => return shim.answer(ticket, Ok(&ExecResponse::default())),
            Err(refusal) => Err(refusal),
        },
        Call::Signal(signal) => send_signal(shim, signal),
        Call::Kill => kill(shim),
        Call::ReopenLog => reopen_log(shim),
        Call::FeedStdin(descriptors) => feed_stdin(shim, descriptors),
        Call::CloseStdin => {
            shim.stdin.close(&shim.poll);
            Ok(())
        }
        Call::Keep(descriptors) => keep(shim, descriptors),
        Call::Resize(columns, rows) => resize(shim, columns, rows),
        Call::Dismiss if shim.refuses(Event::Dismiss) => Err(wrong_time(shim, "dismiss")),
        Call::Dismiss => {
            // Answered while there is somebody to answer.
            shim.answer(ticket, Ok(&Empty::default()));
            return shim.happen(Event::Dismiss);
        }
    };
    let empty = Empty::default();
    shim.answer(ticket, done.map(|()| &empty as &dyn Encode));
}

fn hello(shim: &mut Supervisor, ticket: Ticket, request: &HelloRequest) {
    let ours = (version::LOWEST, version::HIGHEST);
    let Some(version) = version::agree(ours, (request.lowest, request.highest)) else {
        let text = format!(
            "this shim speaks versions {} to {}, the caller {} to {}",
            ours.0, ours.1, request.lowest, request.highest
        );
        return shim.answer(ticket, Err(Refusal::not_now(text)));
    };
    let answer = HelloResponse {
        version,
        features: vec![version::FEATURE_DESCRIPTORS.into(), version::FEATURE_KEEPER.into()],
        build: env!("CARGO_PKG_VERSION").into(),
        container_id: shim.container.as_ref().map_or_else(String::new, |c| c.launch.id.to_string()),
        shim_pid: i32::try_from(std::process::id()).unwrap_or(0),
        generation: shim.facts.replaced,
        ..HelloResponse::default()
    };
    steps::reach("supervise.greeted");
    shim.control.greet(ticket);
    shim.answer(ticket, Ok(&answer));
}

fn launch(shim: &mut Supervisor, ticket: Ticket, request: LaunchRequest) -> Result<(), Refusal> {
    if shim.refuses(Event::Launch) {
        return Err(wrong_time(shim, "launch"));
    }
    // It was killed, or has given the start up: this container's state is told without us by now.
    if shim.control.has_hung_up(ticket) {
        return Err(Refusal::gone());
    }
    let order = request.write_to_bytes().map_err(|error| Refusal::invalid(error.to_string()))?;
    let launch = Launch::check(request).map_err(|fault| Refusal::invalid(fault.to_string()))?;
    steps::check("supervise.launch").map_err(|fault| Refusal::failed(&fault))?;
    // From here on nobody reads what the shim would say but by the wire.
    let silenced = birth::silence(&shim.null).because(|| "the standard streams cannot be replaced".into());
    silenced.map_err(|fault| Refusal::failed(&fault))?;
    shim.take_up(launch, &order, ticket)
}

fn watch(shim: &mut Supervisor, ticket: Ticket, after: u64) {
    if shim.facts.sequence > after {
        let state = shim.wire_state();
        shim.answer(ticket, Ok(&state));
    } else if !shim.control.park(ticket, after) {
        shim.answer(ticket, Err(Refusal::exhausted("too many watches wait on this connection")));
    }
}

fn exec(shim: &mut Supervisor, request: ExecRequest, descriptors: Vec<OwnedFd>) -> Result<(), Refusal> {
    if !shim.state.may_exec() {
        return Err(wrong_time(shim, "exec"));
    }
    let limits = shim.inherited;
    let null = shim.null.try_clone().because(|| "no descriptor is left".into());
    let null = null.map_err(|fault| Refusal::failed(&fault))?;
    shim.with_execs(|execs, container, around| {
        execs.start(request, descriptors, &container.launch.groups, (&null, limits), around)
    })
    .unwrap_or_else(|| Err(Refusal::not_now("there is no container")))
}

fn send_signal(shim: &mut Supervisor, signal: u32) -> Result<(), Refusal> {
    if signal == 0 || signal > SIGNAL_MAX {
        return Err(Refusal::invalid(format!("{signal} is no signal: 1 to {SIGNAL_MAX} are")));
    }
    let number = i32::try_from(signal).unwrap_or(0);
    steps::check("supervise.signal").map_err(|fault| Refusal::failed(&fault))?;
    let Some(init) = shim.init.as_ref().filter(|_| shim.state.has_init()) else {
        return Err(wrong_time(shim, "signal"));
    };
    match init.process.signal(number) {
        // It has ended and its end is about to be seen.
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(errno) => return Err(Refusal::not_now(format!("signal {signal}: {}", errno.desc()))),
    }
    shim.facts.never_started = shim.state == State::Created;
    shim.remember();
    Ok(())
}

fn kill(shim: &mut Supervisor) -> Result<(), Refusal> {
    if shim.state == State::Born {
        return Err(wrong_time(shim, "kill"));
    }
    shim.facts.never_started = shim.state == State::Created;
    shim.remember();
    shim.kill_all();
    Ok(())
}

fn feed_stdin(shim: &mut Supervisor, descriptors: Vec<OwnedFd>) -> Result<(), Refusal> {
    if !shim.state.has_streams() {
        return Err(wrong_time(shim, "feed stdin"));
    }
    let source = descriptors.into_iter().next();
    let source = source.ok_or_else(|| Refusal::invalid("a feed brings one descriptor"))?;
    shim.stdin.feed(&shim.poll, source).map_err(|fault| Refusal::not_now(fault.to_string()))
}

fn reopen_log(shim: &mut Supervisor) -> Result<(), Refusal> {
    shim.pump.reopen().map_err(|fault| Refusal::failed(&fault))?;
    // Before it is answered: a successor must not go on in the old one, which may be taken away now.
    shim.hold_new_log();
    Ok(())
}

fn keep(shim: &mut Supervisor, descriptors: Vec<OwnedFd>) -> Result<(), Refusal> {
    let channel = descriptors.into_iter().next();
    let channel = channel.ok_or_else(|| Refusal::invalid("a keeper comes with one descriptor"))?;
    // Two who bring one to the same keeper do so once: to begin anew there would leave a moment without any.
    if shim.kept.is_whole() {
        return Ok(());
    }
    // Its processes that were the earlier keeper's children are told of by the kernel alone, until a keeper says more.
    shim.wards.orphan(std::time::Instant::now());
    shim.kept.replace(&shim.poll, channel).map_err(|fault| Refusal::invalid(fault.to_string()))?;
    shim.hand_over();
    Ok(())
}

fn resize(shim: &mut Supervisor, columns: u32, rows: u32) -> Result<(), Refusal> {
    let (Ok(columns), Ok(rows)) = (u16::try_from(columns), u16::try_from(rows)) else {
        return Err(Refusal::invalid(format!("{columns} x {rows} is no terminal: 65535 is the most")));
    };
    let Some(terminal) = &shim.terminal else { return Err(Refusal::not_now("there is no terminal")) };
    terminal::resize(terminal, columns, rows)
        .because(|| "the terminal cannot be resized".into())
        .map_err(|fault| Refusal::failed(&fault))
}

fn wrong_time(shim: &Supervisor, call: &str) -> Refusal {
    Refusal::not_now(format!("{call}: not while the container is {:?}", shim.state.phase()))
}
