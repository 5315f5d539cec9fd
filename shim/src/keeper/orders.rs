//! What daemons order, and what they are answered.
//!
//! Owns: their connections. Never: waits for one that does not read.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

use protobuf::Message;
use protocol::keeper::{
    Empty, Hello, Kind, Order, Report, Slot as SlotReport, Slots, Word, order, report::What, word::Verb,
};
use protocol::version;

use super::{node::Node, poll::Source, slot::Shim};
use crate::{
    fault::{Because, Fault},
    limits::{DAEMONS_MAX, SLOTS_MAX},
    steps,
    sys::{
        packet::Packets,
        process::{Child, Program},
    },
};

/// A daemon's connection.
#[derive(Debug)]
pub(crate) struct Daemon {
    channel: Packets,
    is_greeted: bool,
}

impl Node {
    /// A daemon has connected.
    pub(super) fn greet(&mut self, channel: Packets) -> Result<(), Fault> {
        if self.daemons.len() >= DAEMONS_MAX {
            return Err(Fault::new("too many daemons"));
        }
        let number = self.number();
        self.poll.read(&channel, Source::Daemon(number))?;
        self.daemons.insert(number, Daemon { channel, is_greeted: false });
        Ok(())
    }

    /// A daemon orders something, or is gone.
    pub(super) fn ordered(&mut self, number: u32) {
        let Some(daemon) = self.daemons.get(&number) else { return };
        match daemon.channel.receive() {
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
            Ok((packet, fd)) if !packet.is_empty() => match Order::parse_from_bytes(&packet) {
                Ok(order) => self.obey(number, order, fd),
                Err(_) => self.part(number),
            },
            _ => self.part(number),
        }
    }

    fn part(&mut self, number: u32) {
        if let Some(daemon) = self.daemons.remove(&number) {
            self.poll.forget(&daemon.channel);
        }
    }

    fn obey(&mut self, daemon: u32, order: Order, fd: Option<OwnedFd>) {
        let ticket = order.ticket;
        let is_greeted = self.daemons.get(&daemon).is_some_and(|daemon| daemon.is_greeted);
        let done = match (order.what, fd) {
            (Some(order::What::Hello(hello)), _) => self.hello(daemon, hello.lowest, hello.highest),
            _ if !is_greeted => Err("say Hello first".into()),
            (Some(order::What::Spawn(_)), Some(fd)) => match self.spawn(fd) {
                Ok((number, pid)) => {
                    let report = Report { ticket, what: Some(What::Born(pid)), ..Report::default() };
                    return self.report(daemon, &report, Some(number));
                }
                Err(fault) => Err(fault.to_string()),
            },
            (Some(order::What::Take(_)), Some(fd)) => self.take(fd),
            (Some(order::What::Program(_)), Some(fd)) => {
                self.program = Some(Rc::new(fd));
                Ok(What::Done(Empty::default()))
            }
            (Some(order::What::Forget(id)), _) => match self.forget(daemon, ticket, &id) {
                true => return,
                false => Ok(What::Done(Empty::default())),
            },
            (Some(order::What::Look(_)), _) => Ok(What::Slots(self.look())),
            _ => Err("this order is unknown to this keeper, or came without its descriptor".into()),
        };
        self.answer(daemon, ticket, done);
    }

    /// Answers an order.
    pub(super) fn answer(&mut self, daemon: u32, ticket: u64, done: Result<What, String>) {
        let mut report = Report { ticket, ..Report::default() };
        match done {
            Ok(what) => report.what = Some(what),
            Err(error) => report.error = error,
        }
        self.report(daemon, &report, None);
    }

    /// Tells a daemon something, beside a handle of the shim in a place. One that does not read is let go of.
    pub(super) fn report(&mut self, daemon: u32, report: &Report, shim: Option<u32>) {
        let Some(to) = self.daemons.get(&daemon) else { return };
        let beside = shim.and_then(|number| self.slots.get(&number)?.shim.as_ref());
        let beside: Option<BorrowedFd<'_>> = beside.map(|shim| shim.process.as_fd());
        let packet = report.write_to_bytes().ok();
        if packet.and_then(|packet| to.channel.send(&packet, beside).ok()).is_none() {
            self.part(daemon);
        }
    }

    fn hello(&mut self, daemon: u32, lowest: u32, highest: u32) -> Result<What, String> {
        let ours = (version::KEEPER_LOWEST, version::KEEPER_HIGHEST);
        let agreed = version::agree(ours, (lowest, highest));
        let version = agreed.ok_or_else(|| {
            format!("this keeper speaks versions {} to {}, the caller {lowest} to {highest}", ours.0, ours.1)
        })?;
        if let Some(daemon) = self.daemons.get_mut(&daemon) {
            daemon.is_greeted = true;
        }
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        let build = env!("CARGO_PKG_VERSION").into();
        Ok(What::Hello(Hello { version, build, pid, ..Hello::default() }))
    }

    /// A new shim, for a container that the daemon will tell it.
    fn spawn(&mut self, connection: OwnedFd) -> Result<(u32, i32), Fault> {
        if self.slots.len() >= SLOTS_MAX {
            return Err(Fault::new(format!("{SLOTS_MAX} shims are kept already")));
        }
        let (ours, theirs) = Packets::pair().because(|| "no descriptor is left".into())?;
        let number = self.place(ours)?;
        if let Some(slot) = self.slots.get_mut(&number) {
            slot.program.clone_from(&self.program);
        }
        let pid = self.start_in(number, theirs).inspect_err(|_| {
            self.end(number, None);
        })?;
        let mut give = Word::default();
        (give.verb, give.kind) = (Verb::GIVE.into(), Kind::CONNECTION.into());
        if let Some(slot) = self.slots.get(&number) {
            slot.say(&give, Some(&connection));
        }
        Ok((number, pid))
    }

    /// Another shim in the place of a killed one.
    pub(super) fn start_shim(&mut self, number: u32) -> Result<i32, Fault> {
        let (ours, theirs) = Packets::pair().because(|| "no descriptor is left".into())?;
        self.poll.read(&ours, Source::Channel(number))?;
        if let Some(slot) = self.slots.get_mut(&number) {
            slot.channel = Some(ours);
            slot.cut = None;
        }
        self.start_in(number, theirs)
    }

    fn start_in(&mut self, number: u32, theirs: Packets) -> Result<i32, Fault> {
        steps::check("keeper.start")?;
        let null = self.null.as_fd();
        let stderr = self.null.try_clone().because(|| "no descriptor is left".into())?;
        let channel = OwnedFd::from(theirs);
        let args = ["kept".to_owned()];
        let path = match self.slots.get(&number).and_then(|slot| slot.program.as_ref()) {
            // The kernel opens it before it closes what is close-on-exec.
            Some(program) => format!("/proc/self/fd/{}", program.as_raw_fd()),
            None => "/proc/self/exe".to_owned(),
        };
        let program = Program {
            path: &path,
            args: &args,
            streams: [channel.as_fd(), null, stderr.as_fd()],
            limits: self.inherited,
            container: None,
        };
        let Child { process, pid } =
            program.start(|_, _| ()).because(|| "a shim cannot be started".into())?;
        self.poll.read(&process, Source::Shim(number)).inspect_err(|_| process.kill())?;
        if let Some(slot) = self.slots.get_mut(&number) {
            slot.shim = Some(Shim { process, pid });
        }
        Ok(pid)
    }

    /// A place for a shim that is no child of ours; it will say who it is.
    fn take(&mut self, fd: OwnedFd) -> Result<What, String> {
        let channel = Packets::from(fd).map_err(|errno| format!("no packet socket: {}", errno.desc()))?;
        self.place(channel).map_err(|fault| fault.to_string())?;
        Ok(What::Done(Empty::default()))
    }

    /// `true`: its end is waited for.
    fn forget(&mut self, daemon: u32, ticket: u64, id: &str) -> bool {
        let of_it: Vec<u32> =
            self.slots.iter().filter(|(_, slot)| slot.container == id).map(|(&number, _)| number).collect();
        let mut is_waiting = false;
        for number in of_it {
            let Some(slot) = self.slots.get_mut(&number) else { continue };
            slot.is_done = true;
            match &slot.shim {
                Some(shim) => {
                    shim.process.kill();
                    slot.waiting.push((daemon, ticket));
                    is_waiting = true;
                }
                None => self.end(number, None),
            }
        }
        is_waiting
    }

    fn look(&self) -> Slots {
        let one = |slot: &super::slot::Slot| SlotReport {
            container_id: slot.container.clone(),
            shim_pid: slot.shim.as_ref().map_or(0, |shim| shim.pid),
            replaced: slot.replaced,
            held: u32::try_from(slot.held.len()).unwrap_or(u32::MAX),
            ..SlotReport::default()
        };
        Slots { slots: self.slots.values().map(one).collect(), ..Slots::default() }
    }
}
