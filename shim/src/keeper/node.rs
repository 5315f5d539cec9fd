//! The keeper's world: all places, and the loop that sees what happens to them.
//!
//! Owns: places, wards, daemons' connections. Never: waits for a daemon; for a shim longer than for its program to be
//! started, and once a moment for room in the way to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    os::{fd::OwnedFd, unix::net::UnixListener},
    rc::Rc,
    time::{Duration, Instant},
};

use nix::sys::signalfd::SignalFd;
use protobuf::Message;
use protocol::keeper::{Kind, Replaced, Report, Word, report::What, word::Verb};

use super::{
    child::{Ward, is_command, is_process},
    orders::Daemon,
    poll::{Poll, Source},
    slot::{Held, Shim, Slot, one_of},
};
use crate::{
    fault::Fault,
    limits::{
        ACCEPT_PAUSE, CUT_GRACE, DRAIN_TURNS, EARLY_DEATHS_MAX, EARLY_PAUSE, HELD_MAX, SOUND_LIFE, WARD_LOOK,
    },
    steps,
    sys::{
        birth::Inherited,
        clock,
        packet::Packets,
        pidfd::{Ended, PidFd, is_zombie_child, reap_child},
    },
};

/// The keeper's world.
#[derive(Debug)]
pub(crate) struct Node {
    pub(super) poll: Poll,
    children: SignalFd,
    listener: UnixListener,
    pub(super) null: File,
    pub(super) inherited: Inherited,
    pub(super) daemons: BTreeMap<u32, Daemon>,
    pub(super) slots: BTreeMap<u32, Slot>,
    wards: BTreeMap<u32, Ward>,
    pub(super) next: u32,
    /// The daemon's program of a shim.
    pub(super) program: Option<Rc<OwnedFd>>,
    /// Children may have ended that nobody waits for.
    has_orphans: bool,
    /// No descriptor was left for the last daemon that connected.
    accept_again: Option<Instant>,
}

impl Node {
    /// A world with one daemon in it.
    pub(crate) fn new(
        children: SignalFd,
        listener: UnixListener,
        (null, inherited): (File, Inherited),
        daemon: Packets,
    ) -> Result<Self, Fault> {
        let poll = Poll::new()?;
        poll.read(&children, Source::Child)?;
        poll.read(&listener, Source::Listener)?;
        let mut node = Self {
            poll,
            children,
            listener,
            null,
            inherited,
            daemons: BTreeMap::new(),
            slots: BTreeMap::new(),
            wards: BTreeMap::new(),
            next: 0,
            program: None,
            has_orphans: false,
            accept_again: None,
        };
        node.greet(daemon)?;
        Ok(node)
    }

    /// Runs until there is nothing to keep and nobody to keep it for.
    pub(crate) fn run(&mut self) -> Result<(), Fault> {
        while !(self.daemons.is_empty() && self.slots.is_empty()) {
            let wait = self.due().map(|at| at.saturating_duration_since(Instant::now()));
            self.turn(wait)?;
            self.on_time(Instant::now());
            if self.has_orphans {
                self.sweep()?;
            }
        }
        Ok(())
    }

    fn turn(&mut self, wait: Option<Duration>) -> Result<bool, Fault> {
        let sources = self.poll.wait(wait)?;
        for &source in &sources {
            match source {
                Source::Channel(number) => self.hear(number),
                Source::Shim(number) => self.shim_ended(number),
                Source::Ward(number) => self.ward_ended(number),
                Source::Daemon(number) => self.ordered(number),
                Source::Listener => self.accept(),
                Source::Child => {
                    while let Ok(Some(_)) = self.children.read_signal() {}
                    self.has_orphans = true;
                }
            }
        }
        Ok(!sources.is_empty())
    }

    /// A daemon connects.
    fn accept(&mut self) {
        match Packets::accept(&self.listener) {
            // Dropping it is the answer where it cannot be watched.
            Ok(Some(daemon)) => drop(self.greet(daemon)),
            Ok(None) => {}
            // It would be ready without end.
            Err(_) => {
                self.poll.forget(&self.listener);
                self.accept_again = Some(Instant::now() + ACCEPT_PAUSE);
            }
        }
    }

    /// The next number of anything.
    pub(super) fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// A place for a shim at the end of this way.
    pub(super) fn place(&mut self, channel: Packets) -> Result<u32, Fault> {
        let number = self.number();
        self.poll.read(&channel, Source::Channel(number))?;
        self.slots.insert(number, Slot::new(channel));
        Ok(number)
    }

    /// A shim says something.
    fn hear(&mut self, number: u32) {
        loop {
            let Some(slot) = self.slots.get_mut(&number) else { return };
            let Some(channel) = &slot.channel else { return };
            match channel.receive() {
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return,
                Ok((packet, fd)) if !packet.is_empty() => {
                    if let Ok(word) = Word::parse_from_bytes(&packet) {
                        self.heard(number, &word, fd);
                    }
                }
                _ => {
                    self.poll.forget(channel);
                    slot.channel = None;
                    slot.cut = Some(Instant::now());
                    if slot.shim.is_none() && slot.again.is_none() {
                        // It never said who it is.
                        self.slots.remove(&number);
                    }
                    return;
                }
            }
        }
    }

    fn heard(&mut self, number: u32, word: &Word, fd: Option<OwnedFd>) {
        let kind = word.kind.enum_value_or_default();
        let Some(slot) = self.slots.get_mut(&number) else { return };
        match (word.verb.enum_value_or_default(), fd) {
            (Verb::HOLD, Some(fd)) if kind == Kind::SHIM => {
                // What follows it must be of the same program.
                let program = File::open(format!("/proc/{}/exe", word.pid));
                let held =
                    self.program.iter().chain(self.slots.values().filter_map(|slot| slot.program.as_ref()));
                let program = program.ok().map(|program| one_of(program.into(), held));
                let Some(slot) = self.slots.get_mut(&number) else { return };
                slot.program = program;
                let process = PidFd::of(fd);
                if self.poll.read(&process, Source::Shim(number)).is_ok() {
                    slot.shim = Some(Shim { process, pid: word.pid });
                }
            }
            (Verb::HOLD, Some(fd))
                if slot.held.len() < HELD_MAX || slot.held.contains_key(&(kind as i32, word.number)) =>
            {
                if kind == Kind::MEMORY {
                    slot.container.clone_from(&word.text);
                }
                let key = (kind as i32, word.number);
                // A shim that has taken over shows a process of its predecessor's: our child.
                let ward = is_process(kind).then(|| fd.try_clone().ok()).flatten();
                slot.held.insert(key, Held { fd, pid: word.pid });
                if let Some(ward) = ward.map(|fd| Ward::of(fd, kind, word.number)).filter(Ward::is_ours) {
                    // Where it cannot be watched now, it is when this shim is killed.
                    drop(self.ward(number, ward));
                }
            }
            (Verb::DROP, _) => {
                slot.held.remove(&(kind as i32, word.number));
                self.bury(number, Some((kind, word.number)));
            }
            (Verb::TAKEN, _) => slot.taken = Some(Instant::now()),
            (Verb::DONE, _) => {
                slot.is_done = true;
                slot.held.clear();
                self.bury(number, None);
            }
            _ => {}
        }
    }

    /// Watches a process that an earlier shim of this place left.
    fn ward(&mut self, slot: u32, ward: Ward) -> io::Result<()> {
        let number = self.number();
        let watched = self.poll.read(&ward.process, Source::Ward(number));
        watched.map_err(|fault| io::Error::other(fault.to_string()))?;
        self.wards.insert(number, ward);
        if let Some(slot) = self.slots.get_mut(&slot) {
            slot.wards.push(number);
        }
        Ok(())
    }

    fn ward_ended(&mut self, number: u32) {
        let Some(ward) = self.wards.get_mut(&number) else { return };
        // One that is another's child is looked at by time: its descriptor would tell of its end without end.
        self.poll.forget(&ward.process);
        if !ward.look(clock::now()) {
            return;
        }
        let word = ward.word();
        let slot = self.slots.values().find(|slot| slot.wards.contains(&number));
        if let (Some(slot), Some(word)) = (slot, word) {
            // A shim that does not listen is being replaced: the next one is told.
            slot.say(&word, None);
        }
    }

    /// Forgets wards of a place: this one, or all.
    fn bury(&mut self, slot: u32, which: Option<(Kind, u32)>) {
        let Some(slot) = self.slots.get_mut(&slot) else { return };
        let (gone, left) = std::mem::take(&mut slot.wards).into_iter().partition(|number| {
            let ward = self.wards.get(number);
            which.is_none() || ward.is_none_or(|ward| which == Some((ward.kind, ward.number)))
        });
        slot.wards = left;
        let gone: Vec<u32> = gone;
        for ward in gone.into_iter().filter_map(|number| self.wards.remove(&number)) {
            self.poll.forget(&ward.process);
            ward.bury();
        }
        // One that still runs is an orphan from now on.
        self.has_orphans = true;
    }

    /// A shim may have ended.
    fn shim_ended(&mut self, number: u32) {
        // What it said last counts.
        self.hear(number);
        let Some(slot) = self.slots.get_mut(&number) else { return };
        let Some(shim) = slot.shim.take() else { return };
        self.poll.forget(&shim.process);
        let ended = shim.process.reap().ok().flatten();
        steps::reach("keeper.shim_ended");
        let now = Instant::now();
        // A way that ended long before was given up by the shim: what is held is not all there is.
        let is_stale = slot.cut.is_some_and(|cut| now > cut + CUT_GRACE);
        if let Some(channel) = slot.channel.take() {
            self.poll.forget(&channel);
        }
        slot.cut = None;
        // A shim leaves by itself only when nothing is left to do.
        slot.is_done |= ended == Some(Ended::Code(0));
        if !slot.has_estate() || is_stale {
            return self.end(number, (!slot_is_over(self.slots.get(&number))).then(|| describe(ended)));
        }
        slot.replaced += 1;
        // What one finds may be what ends all. That it was killed after it had taken over says nothing of the next.
        let taken = slot.taken.take();
        let was_killed = !matches!(ended, Some(Ended::Signal(signal)) if signal != KILL)
            && !matches!(ended, Some(Ended::Code(_)));
        let is_sound = taken.is_some_and(|at| was_killed || now > at + SOUND_LIFE);
        slot.early = if is_sound || slot.replaced == 1 { 0 } else { slot.early + 1 };
        if slot.early > EARLY_DEATHS_MAX {
            return self.end(number, Some(describe(ended)));
        }
        let pause = slot.pause();
        slot.again = Some(now + pause);
        slot.how = describe(ended);
        if pause.is_zero() {
            self.replace(number);
        }
    }

    /// Watches all processes that a killed shim left. An error: no descriptor is left, and one is not watched.
    fn ward_all(&mut self, number: u32) -> io::Result<()> {
        let Some(slot) = self.slots.get(&number) else { return Ok(()) };
        let known: BTreeSet<(i32, u32)> =
            slot.wards.iter().filter_map(|w| self.wards.get(w)).map(|w| (w.kind as i32, w.number)).collect();
        let mut processes = Vec::new();
        for (&(kind, of), held) in slot.held.iter().filter(|(key, _)| !known.contains(key)) {
            if let Some(kind) = <Kind as protobuf::Enum>::from_i32(kind).filter(|&kind| is_process(kind)) {
                processes.push(Ward::of(held.fd.try_clone()?, kind, of));
            }
        }
        processes.into_iter().try_for_each(|ward| self.ward(number, ward))
    }

    /// Puts another shim in a place.
    fn replace(&mut self, number: u32) {
        let warded = self.ward_all(number);
        let Some(slot) = self.slots.get_mut(&number) else { return };
        slot.again = None;
        if warded.is_err() {
            // Its end would never be told.
            slot.again = Some(Instant::now() + EARLY_PAUSE);
            return;
        }
        // Looked at first: what has ended meanwhile is told at once.
        for ward in &slot.wards {
            if let Some(ward) = self.wards.get_mut(ward) {
                ward.look(clock::now());
            }
        }
        let born = self.start_shim(number);
        let Some(slot) = self.slots.get_mut(&number) else { return };
        let ends: Vec<Word> =
            slot.wards.iter().filter_map(|ward| self.wards.get(ward)).filter_map(Ward::word).collect();
        let pid = match born {
            Ok(pid) if slot.give(ends.iter()) => pid,
            Ok(_) | Err(_) => {
                // It is killed, so that its end starts the next; or could not be started, and is tried again.
                match &slot.shim {
                    Some(shim) => shim.process.kill(),
                    // That says nothing of the container: the host has no process, memory or descriptor to give now.
                    None => slot.again = Some(Instant::now() + EARLY_PAUSE),
                }
                return;
            }
        };
        steps::reach("keeper.replaced");
        let mut news =
            Replaced { shim_pid: pid, replaced: slot.replaced, how: slot.how.clone(), ..Replaced::default() };
        news.container_id.clone_from(&slot.container);
        self.tell_all(What::Replaced(news));
    }

    /// A place is not needed any more; `lost`: its container goes on without a shim.
    pub(super) fn end(&mut self, number: u32, lost: Option<String>) {
        self.bury(number, None);
        let Some(slot) = self.slots.remove(&number) else { return };
        if let Some(channel) = &slot.channel {
            self.poll.forget(channel);
        }
        for (daemon, ticket) in slot.waiting {
            self.answer(daemon, ticket, Ok(What::Done(protocol::keeper::Empty::default())));
        }
        if let (Some(how), false) = (lost, slot.container.is_empty()) {
            let mut news = Replaced { replaced: slot.replaced, how, lost: true, ..Replaced::default() };
            news.container_id = slot.container;
            self.tell_all(What::Replaced(news));
        }
    }

    fn tell_all(&mut self, what: What) {
        let report = Report { what: Some(what), ..Report::default() };
        let daemons: Vec<u32> = self.daemons.keys().copied().collect();
        for daemon in daemons {
            self.report(daemon, &report, None);
        }
    }

    fn due(&self) -> Option<Instant> {
        let again = self.slots.values().filter_map(|slot| slot.again).min();
        let cut = self.slots.values().filter_map(|slot| slot.cut.filter(|_| slot.shim.is_some())).min();
        let strange = self.wards.values().any(|ward| !ward.is_ours() && ward.ended.is_none());
        again
            .into_iter()
            .chain(cut.map(|at| at + CUT_GRACE))
            .chain(strange.then(|| Instant::now() + WARD_LOOK))
            .chain(self.accept_again)
            .min()
    }

    fn on_time(&mut self, now: Instant) {
        if self.accept_again.take_if(|at| *at <= now).is_some()
            && self.poll.read(&self.listener, Source::Listener).is_err()
        {
            self.accept_again = Some(now + ACCEPT_PAUSE);
        }
        self.leave_cut(now);
        let due: Vec<u32> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.again.is_some_and(|at| at <= now))
            .map(|(&number, _)| number)
            .collect();
        for number in due {
            let is_over = self.slots.get(&number).is_some_and(|slot| slot.early > EARLY_DEATHS_MAX);
            match is_over {
                true => self.end(number, Some("no other shim can be started".into())),
                false => self.replace(number),
            }
        }
        let strange: Vec<u32> = self
            .wards
            .iter()
            .filter(|(_, ward)| !ward.is_ours() && ward.ended.is_none())
            .map(|(&number, _)| number)
            .collect();
        strange.into_iter().for_each(|number| self.ward_ended(number));
    }

    /// A shim that lives and does not speak with us any more: what is held is not all there is, and would keep open what
    /// it closes. The daemon may bring it again.
    fn leave_cut(&mut self, now: Instant) {
        let is_cut = |slot: &Slot| slot.shim.is_some() && slot.cut.is_some_and(|at| now > at + CUT_GRACE);
        let cut: Vec<u32> =
            self.slots.iter().filter(|(_, slot)| is_cut(slot)).map(|(&number, _)| number).collect();
        for number in cut {
            let Some(slot) = self.slots.get(&number) else { continue };
            let is_wanted = !slot.is_done && !slot.container.is_empty();
            let mut news = Replaced { replaced: slot.replaced, cut: true, ..Replaced::default() };
            news.container_id.clone_from(&slot.container);
            if let Some(shim) = &slot.shim {
                news.shim_pid = shim.pid;
                self.poll.forget(&shim.process);
            }
            self.end(number, None);
            if is_wanted {
                self.tell_all(What::Replaced(news));
            }
        }
    }

    /// Reaps children that no shim waits for.
    ///
    /// One that has ended may be the very process whose id a runtime's command was about to write down when its shim
    /// was killed. So whoever is found is looked at again when all that was said by then has been heard, and while such
    /// a command is a ward, nobody is reaped.
    fn sweep(&mut self) -> Result<(), Fault> {
        self.has_orphans = false;
        let found: Vec<i32> =
            crate::sys::children::own().into_iter().filter(|&pid| is_zombie_child(pid)).collect();
        if found.is_empty() {
            return Ok(());
        }
        for _ in 0..DRAIN_TURNS {
            if !self.turn(Some(Duration::ZERO))? {
                break;
            }
        }
        let known: BTreeSet<i32> = self
            .slots
            .values()
            .flat_map(|slot| {
                let held = slot.held.values().map(|held| held.pid);
                held.chain(slot.shim.iter().map(|shim| shim.pid))
            })
            .collect();
        if self.wards.values().any(|ward| is_command(ward.kind)) {
            // Its end, or its shim's word, is an event that brings us back: wards are buried by then.
            return Ok(());
        }
        found.into_iter().filter(|pid| !known.contains(pid)).for_each(reap_child);
        Ok(())
    }
}

/// SIGKILL: a shim does not end itself so.
const KILL: u8 = 9;

fn slot_is_over(slot: Option<&Slot>) -> bool {
    slot.is_none_or(|slot| slot.is_done)
}

fn describe(ended: Option<Ended>) -> String {
    match ended {
        Some(Ended::Code(code)) => format!("exit code {code}"),
        Some(Ended::Signal(signal)) => format!("signal {signal}"),
        Some(Ended::Unknown) | None => "an unknown end".into(),
    }
}
