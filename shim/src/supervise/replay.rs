//! What a successor does with the read that was under way when its predecessor was killed.
//!
//! The records of what was read are made again, with the same stamp and the same tails: they are the same bytes. As
//! many of them as the log has grown by are there already, and the rest is written. Only where nobody can know what
//! became of a read, a line of ours marks the place.
//!
//! Owns: this one read. Never: guesses.

use std::{fs::File, os::fd::OwnedFd, path::Path, time::Instant};

use logs::{Batch, FileSink, LineSplitter, STAMP_LEN};

use super::{clock, journal::Pending, pump::Pump};

/// What a line of ours says where something may be missing. Tests and people look for it.
const MARK: &str = "the writer of this log was replaced here: up to";

impl Pump {
    /// Goes on in the log that a predecessor had open. Call when the outputs are attached.
    pub(crate) fn resume(&mut self, path: &Path, log: OwnedFd) {
        let losses = self.journal.losses();
        self.sink = Some(FileSink::resume(path, File::from(log), losses, Instant::now()));
        for (output, tail) in self.outputs.iter_mut().zip(self.journal.tails()) {
            if let Some(output) = output {
                output.splitter = LineSplitter::with_tail(&tail);
            }
        }
        match self.journal.pending() {
            None => {}
            Some(Pending::Read(_, 0)) => self.journal.nothing(),
            Some(Pending::Read(number, count)) => {
                let stamp = *self.stamper.at(clock::now());
                let base = self.sink.as_ref().map_or(0, FileSink::size);
                self.replay(number, count, &stamp, base);
            }
            Some(Pending::Written(number, count, stamp, base)) => self.replay(number, count, &stamp, base),
        }
        // Tails wait no longer for their rest than those of a shim that was not killed.
        self.expect_tails(Instant::now());
    }

    fn replay(&mut self, number: u32, count: usize, stamp: &[u8; STAMP_LEN], base: u64) {
        let size = self.sink.as_ref().map_or(0, FileSink::size);
        let written = size.checked_sub(base).and_then(|written| usize::try_from(written).ok());
        let losses = self.journal.losses();
        match written {
            // Somebody has cut the log; or a line of ours about losses may be among what was written.
            None => self.mark(&format!("{count} bytes of output may be missing")),
            Some(written) if written > 0 && losses.unmarked > 0 => {
                self.mark(&format!("{count} bytes of output may be missing"));
            }
            Some(written) => self.write_again(number, count, stamp, written),
        }
    }

    /// Makes the records once more and writes all but the first `skip` bytes of them.
    fn write_again(&mut self, number: u32, count: usize, stamp: &[u8; STAMP_LEN], mut skip: usize) {
        let now = Instant::now();
        let place = usize::try_from(number).ok().and_then(|number| self.outputs.get_mut(number));
        let (Some(sink), Some(Some(output))) = (&mut self.sink, place) else { return self.journal.nothing() };
        self.journal.got(number, count, stamp, sink.size().saturating_sub(u64::try_from(skip).unwrap_or(0)));
        let mut batch = Batch::new(self.memory.bytes());
        let mut write = |batch: &mut Batch<'_>| {
            let records = batch.bytes();
            let mut there = skip.min(records.len());
            skip -= there;
            // A record that is half there is written whole: a disk that is full must not leave the half.
            let torn = records[..there].iter().rev().take_while(|&&byte| byte != b'\n').count();
            if there < records.len() && torn > 0 && sink.cut_off(torn) {
                there -= torn;
            }
            if there < records.len() {
                sink.write(&records[there..], stamp, now);
            }
            batch.clear();
        };
        if count == 0
            && let Some(piece) = output.splitter.flush()
        {
            assert!(batch.push(stamp, output.stream, &piece), "an empty batch holds any record");
        }
        let mut rest = &self.journal.input()[..count];
        while let Some(piece) = output.splitter.next(&mut rest) {
            if !batch.push(stamp, output.stream, &piece) {
                write(&mut batch);
                assert!(batch.push(stamp, output.stream, &piece), "an empty batch holds any record");
            }
        }
        write(&mut batch);
        self.note_done();
    }

    fn mark(&mut self, what: &str) {
        let stamp = *self.stamper.at(clock::now());
        if let Some(sink) = &mut self.sink {
            // Where it cannot be cut, it is one line with ours.
            drop(sink.cut_torn());
            // Where even that cannot be written, the disk is full, and the loss is counted as such.
            sink.remark(&stamp, &format!("{MARK} {what}"), Instant::now());
        }
        self.note_done();
    }
}
