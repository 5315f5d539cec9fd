//! The data path: the container's streams into its log.
//!
//! Owns: the reading ends, the log, and the memory between them, of which the journal lets a successor go on where a
//! killed shim was. Never: takes part in a decision; a read costs no step of the machine.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    num::NonZeroUsize,
    os::fd::OwnedFd,
    time::Instant,
};

use logs::{
    Batch, FileSink, LineSplitter, STAMP_LEN, Stamper, Stream,
    limits::{BATCH_SIZE, READ_SIZE},
};

use super::{
    clock,
    journal::Journal,
    poll::{Poll, Source},
};
use crate::{
    fault::{Because, Fault},
    limits::{FIRST_READ, GATHER, LOG_LOOK, MEMORY_KEEP, RAPID, READS_PER_TURN, SMALL_READ, TAIL_WAIT},
    steps,
    sys::{
        arena::{Arena, release_stack},
        program::release_text,
    },
};

const ARENA_SIZE: NonZeroUsize = NonZeroUsize::new(BATCH_SIZE).expect("it is not zero");

/// Both streams and the log.
#[derive(Debug)]
pub(crate) struct Pump {
    pub(super) outputs: [Option<Output>; 2],
    pub(super) sink: Option<FileSink>,
    pub(super) stamper: Stamper,
    pub(super) memory: Arena,
    pub(super) journal: Journal,
    /// When the memory was last touched; `None`: it is given back.
    touched: Option<Instant>,
    /// When the log's file was last looked at.
    looked: Option<Instant>,
    /// The log is another file since this was last asked.
    has_new_log: bool,
    /// The log's file has no name any more.
    log_is_gone: bool,
    /// Reading ends that are not read any more, to be watched and held no more: the keeper has them open too, so their
    /// closing alone would not end the watch.
    closed: Vec<(u32, File)>,
    /// What the next read may bring at most: a page until one was full, so that a few bytes touch no more than that.
    room: usize,
}

/// One stream.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) from: File,
    pub(super) stream: Stream,
    pub(super) splitter: LineSplitter,
    /// When its incomplete tail has waited long enough.
    tail_due: Option<Instant>,
    /// When it was last read and brought little.
    last_small: Option<Instant>,
}

impl Pump {
    /// A pump without streams or a log.
    pub(crate) fn new(journal: Journal) -> Result<Self, Fault> {
        let memory = Arena::new(ARENA_SIZE).because(|| "no memory for the log".into())?;
        Ok(Self {
            outputs: [None, None],
            sink: None,
            stamper: Stamper::default(),
            memory,
            journal,
            touched: None,
            looked: None,
            has_new_log: false,
            log_is_gone: false,
            closed: Vec::new(),
            room: FIRST_READ,
        })
    }

    /// What a successor needs to know.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The log that is open now.
    pub(crate) fn log(&self) -> Option<&File> {
        self.sink.as_ref().map(FileSink::file)
    }

    /// The reading ends that are open, with their numbers.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (u32, &File)> {
        (0..).zip(&self.outputs).filter_map(|(number, output)| Some((number, &output.as_ref()?.from)))
    }

    /// Memory for whoever reads something small right now.
    pub(crate) fn scratch(&mut self) -> &mut [u8] {
        self.touched = Some(Instant::now());
        &mut self.memory.bytes()[..READ_SIZE]
    }

    /// Where records go. Without one, output is read and thrown away.
    pub(crate) fn log_to(&mut self, sink: FileSink) {
        self.sink = Some(sink);
    }

    /// Reads this stream from now on: 0 stdout, 1 stderr.
    pub(crate) fn attach(&mut self, poll: &Poll, number: u32, from: OwnedFd) -> Result<(), Fault> {
        let stream = if number == 0 { Stream::Stdout } else { Stream::Stderr };
        poll.read(&from, Source::Output(number))?;
        let output = Output {
            from: from.into(),
            stream,
            splitter: LineSplitter::default(),
            tail_due: None,
            last_small: None,
        };
        if let Some(place) = slot(&mut self.outputs, number) {
            *place = Some(output);
        }
        Ok(())
    }

    /// The stream has bytes or has ended: reads some and writes them to the log.
    pub(crate) fn ready(&mut self, number: u32) {
        let now = Instant::now();
        self.look_at_log(now);
        let Some(Some(output)) = slot(&mut self.outputs, number) else { return };
        let now = output.gather(now);
        self.touched = Some(now);
        for _ in 0..READS_PER_TURN {
            let Some(Some(output)) = slot(&mut self.outputs, number) else { return };
            let room = self.room;
            self.journal.announce(number, room);
            let count = match output.from.read(&mut self.journal.input()[..room]) {
                Ok(count) if count > 0 => count,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return self.journal.nothing(),
                // Its end. A terminal says so by EIO, when the last process has closed it.
                _ => {
                    self.journal.nothing();
                    return self.end(number, now);
                }
            };
            let stamp = *self.stamper.at(clock::now());
            self.records(number, count, &stamp, now);
            if count < room {
                return;
            }
            self.room = READ_SIZE;
        }
    }

    /// Makes records of so many bytes that were read, and writes them.
    fn records(&mut self, number: u32, count: usize, stamp: &[u8; STAMP_LEN], now: Instant) {
        let Some(sink) = &mut self.sink else { return self.journal.discard(count) };
        self.journal.got(number, count, stamp, sink.size());
        let Some(Some(output)) = slot(&mut self.outputs, number) else { return };
        let mut batch = Batch::new(self.memory.bytes());
        let mut rest = &self.journal.input()[..count];
        while let Some(piece) = output.splitter.next(&mut rest) {
            if !batch.push(stamp, output.stream, &piece) {
                sink.write(batch.bytes(), stamp, now);
                batch.clear();
                assert!(batch.push(stamp, output.stream, &piece), "an empty batch holds any record");
            }
        }
        if !batch.is_empty() {
            sink.write(batch.bytes(), stamp, now);
        }
        output.last_small = (count < SMALL_READ).then_some(now);
        output.tail_due = output.splitter.has_tail().then(|| now + TAIL_WAIT);
        self.note_done();
    }

    /// What is carried now is what a successor would have to carry.
    pub(super) fn note_done(&mut self) {
        let tails =
            self.outputs.each_ref().map(|output| output.as_ref().map_or(&[][..], |o| o.splitter.tail()));
        let losses = self.sink.as_ref().map(FileSink::losses).unwrap_or_default();
        self.journal.done(tails, losses);
    }

    /// Tails that are carried have waited from now on.
    pub(super) fn expect_tails(&mut self, now: Instant) {
        self.touched = Some(now);
        for output in self.outputs.iter_mut().flatten() {
            output.tail_due = output.splitter.has_tail().then(|| now + TAIL_WAIT);
        }
    }

    /// A stream has come to its end.
    fn end(&mut self, number: u32, now: Instant) {
        self.flush(number, now);
        self.close(number);
    }

    fn close(&mut self, number: u32) {
        let output = slot(&mut self.outputs, number).and_then(Option::take);
        self.closed.extend(output.map(|output| (number, output.from)));
    }

    /// Reading ends that were closed since this was last asked.
    pub(crate) fn take_closed(&mut self) -> Vec<(u32, File)> {
        std::mem::take(&mut self.closed)
    }

    /// Reads what has come so far, for as long as some comes in this turn.
    pub(crate) fn ready_all(&mut self) {
        self.ready(0);
        self.ready(1);
    }

    /// Somebody removed the log without asking for a new one: what is written now, nobody could ever read. Looked
    /// at once a second, and only while output comes.
    fn look_at_log(&mut self, now: Instant) {
        if self.looked.is_some_and(|at| now < at + LOG_LOOK) {
            return;
        }
        self.looked = Some(now);
        self.log_is_gone = self.sink.as_ref().is_some_and(FileSink::is_unlinked);
    }

    /// Goes on in a new log where the old one was removed. Between two reads: the journal counts on one file.
    pub(crate) fn replace_removed_log(&mut self) {
        if std::mem::take(&mut self.log_is_gone)
            && let Some(sink) = &mut self.sink
        {
            // Its folder may be gone too; then it is tried again a second later.
            self.has_new_log |= sink.reopen().unwrap_or(false);
        }
    }

    /// All streams have ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.outputs.iter().all(Option::is_none)
    }

    /// Gives both streams up, whoever still holds their other ends, and brings the log to its end.
    pub(crate) fn finish(&mut self) {
        steps::reach("supervise.log_end");
        let now = Instant::now();
        let stamp = *self.stamper.at(clock::now());
        for number in 0..2 {
            self.flush(number, now);
            self.close(number);
        }
        if let Some(sink) = &mut self.sink {
            sink.close(&stamp, now);
        }
        self.note_done();
    }

    /// Goes on in the file that is at the log's path now.
    pub(crate) fn reopen(&mut self) -> Result<(), Fault> {
        steps::check("supervise.reopen")?;
        self.ready_all();
        let Some(sink) = &mut self.sink else { return Ok(()) };
        self.has_new_log |= sink.reopen().map_err(|error| Fault::new(chain(&error)))?;
        Ok(())
    }

    /// Whether the log is another file since this was last asked.
    pub(crate) fn has_new_log(&mut self) -> bool {
        std::mem::take(&mut self.has_new_log)
    }

    /// The container's bytes that could not be written.
    pub(crate) fn lost(&self) -> u64 {
        self.sink.as_ref().map_or(0, FileSink::lost)
    }

    /// When time alone will make something due.
    pub(crate) fn due(&self) -> Option<Instant> {
        let tails = self.outputs.iter().flatten().filter_map(|output| output.tail_due);
        let retry = self.sink.as_ref().and_then(FileSink::retry_at);
        tails.chain(retry).chain(self.touched.map(|at| at + MEMORY_KEEP)).min()
    }

    /// Does what is due.
    pub(crate) fn on_time(&mut self, now: Instant) {
        for number in 0..2 {
            let due = slot(&mut self.outputs, number).and_then(|output| output.as_ref()?.tail_due);
            if due.is_some_and(|at| at <= now) {
                self.flush(number, now);
            }
        }
        if let Some(sink) = &mut self.sink
            && sink.retry_at().is_some_and(|at| at <= now)
        {
            let stamp = *self.stamper.at(clock::now());
            sink.retry(&stamp, now);
            // A line that was written is not written again by a successor.
            self.note_done();
        }
        if self.touched.is_some_and(|at| at + MEMORY_KEEP <= now) {
            self.memory.release();
            self.journal.release();
            self.room = FIRST_READ;
            release_stack();
            release_text();
            self.touched = None;
            for output in self.outputs.iter_mut().flatten() {
                output.splitter.release();
            }
        }
    }

    /// Writes the incomplete tail as a partial record.
    fn flush(&mut self, number: u32, now: Instant) {
        let Some(Some(output)) = slot(&mut self.outputs, number) else { return };
        output.tail_due = None;
        if output.splitter.has_tail() {
            self.touched = Some(now);
            let stamp = *self.stamper.at(clock::now());
            self.tail_record(number, &stamp, now);
        }
    }

    fn tail_record(&mut self, number: u32, stamp: &[u8; STAMP_LEN], now: Instant) {
        let (Some(sink), Some(Some(output))) = (&mut self.sink, slot(&mut self.outputs, number)) else {
            return;
        };
        self.journal.got(number, 0, stamp, sink.size());
        if let Some(piece) = output.splitter.flush() {
            let mut batch = Batch::new(self.memory.bytes());
            assert!(batch.push(stamp, output.stream, &piece), "an empty batch holds any record");
            sink.write(batch.bytes(), stamp, now);
        }
        self.note_done();
    }
}

impl Output {
    /// Lets the lines of a program that writes them one by one, and fast, gather for a moment. Returns the present.
    #[allow(
        clippy::disallowed_methods,
        reason = "the time that passes is the point; a bound of the data path"
    )]
    fn gather(&self, now: Instant) -> Instant {
        if self.last_small.is_none_or(|at| now >= at + RAPID) {
            return now;
        }
        std::thread::sleep(GATHER);
        Instant::now()
    }
}

fn slot(outputs: &mut [Option<Output>; 2], number: u32) -> Option<&mut Option<Output>> {
    outputs.get_mut(usize::try_from(number).ok()?)
}

/// An error with its sources on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
