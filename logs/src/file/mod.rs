//! The log file: appends whole records, goes on in a new file after a rotation, and on a full disk counts what is
//! lost instead of waiting or leaving half a record behind.
//!
//! Owns: one open log file. Never: truncates, but for cutting a torn record off its end; waits for space.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use memchr::memrchr;
use nix::fcntl::OFlag;

use crate::{
    limits::{BATCH_SIZE, FILE_MODE, RETRY_FIRST, RETRY_LONGEST},
    record::payload,
    timestamp::STAMP_LEN,
};

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system's own reason.
    #[error("the log {path} cannot be opened: check that its folder exists and can be written")]
    Open {
        /// The log.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A symbolic link, a device, a pipe: planted, or a mistake.
    #[error("the log {path} is no regular file: remove what is there")]
    NotRegular {
        /// The log.
        path: PathBuf,
    },
}

/// What a sink needs of a file; a disk that fails by script stands in for one in tests.
pub trait Disk {
    /// Appends some of these bytes.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Bytes in the file.
    fn size(&self) -> io::Result<u64>;
    /// Cuts the file to this size.
    fn cut(&mut self, size: u64) -> io::Result<()>;
}

impl Disk for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn cut(&mut self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }
}

/// Appends records to a disk and keeps account of what it refuses.
#[derive(Debug)]
pub struct FileSink<D = File> {
    path: PathBuf,
    disk: D,
    health: Health,
    /// The container's bytes lost for ever, since the start.
    lost: u64,
    /// Those of them that no marker line tells of yet.
    unmarked: u64,
    /// Bytes in the file, by our own account.
    size: u64,
}

/// What a sink has lost, for whoever goes on after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// The container's bytes lost for ever, since the start.
    pub lost: u64,
    /// Those of them that no marker line tells of yet.
    pub unmarked: u64,
}

#[derive(Debug, Clone, Copy)]
enum Health {
    Open,
    Failing { retry_at: Instant, pause: Duration },
}

impl FileSink<File> {
    /// Opens the log for appending, makes it where it is missing.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self::on(path.to_owned(), open(path)?))
    }

    /// Goes on in a file that another sink had open, wherever its name is now.
    pub fn resume(path: &Path, file: File, losses: Losses, now: Instant) -> Self {
        let mut sink = Self::on(path.to_owned(), file);
        (sink.lost, sink.unmarked) = (losses.lost, losses.unmarked);
        if losses.unmarked > 0 {
            // The line that tells of it comes before anything else.
            sink.health = Health::Failing { retry_at: now, pause: RETRY_FIRST };
        }
        sink
    }

    /// The open file, to be held by somebody else too.
    pub fn file(&self) -> &File {
        &self.disk
    }

    /// Goes on in the file that is at the path now. `false`: it is the one already open.
    ///
    /// # Errors
    /// The old file stays in use where the new one cannot be opened.
    pub fn reopen(&mut self) -> Result<bool, OpenError> {
        let new = open(&self.path)?;
        let identity = |file: &File| {
            let of = file.metadata().map(|m| (m.dev(), m.ino()));
            of.map_err(|source| OpenError::Open { path: self.path.clone(), source })
        };
        if identity(&new)? == identity(&self.disk)? {
            return Ok(false);
        }
        self.size = new.size().unwrap_or(0);
        self.disk = new;
        Ok(true)
    }

    /// Cuts the beginning of a record off the end, in which another sink was killed.
    pub fn cut_torn(&mut self) -> io::Result<()> {
        // The log itself is open for appending alone.
        let readable = File::open(format!("/proc/self/fd/{}", self.disk.as_raw_fd()))?;
        let size = readable.metadata()?.len();
        let longest = u64::try_from(BATCH_SIZE).unwrap_or(u64::MAX);
        let mut end = vec![0; usize::try_from(size.min(longest)).unwrap_or(0)];
        readable.read_exact_at(&mut end, size - size.min(longest))?;
        let torn = end.len() - memrchr(b'\n', &end).map_or(0, |at| at + 1);
        if torn > 0 {
            self.cut_off(torn);
        }
        Ok(())
    }

    /// Nobody can read what is written, because the file's last name was removed.
    pub fn is_unlinked(&self) -> bool {
        self.disk.metadata().is_ok_and(|m| m.nlink() == 0)
    }
}

impl<D: Disk> FileSink<D> {
    /// A sink on this disk.
    pub fn on(path: PathBuf, disk: D) -> Self {
        let size = disk.size().unwrap_or(0);
        Self { path, disk, health: Health::Open, lost: 0, unmarked: 0, size }
    }

    /// Bytes in the file by our own account: what was there when it was opened, and what we appended.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What was lost so far.
    pub fn losses(&self) -> Losses {
        Losses { lost: self.lost, unmarked: self.unmarked }
    }

    /// One line of ours among the container's. `false`: the disk refused it.
    pub fn remark(&mut self, stamp: &[u8; STAMP_LEN], text: &str, now: Instant) -> bool {
        let mut line = stamp.to_vec();
        line.extend_from_slice(format!(" stderr F [taffrail] {text}\n").as_bytes());
        self.append(&line, now) == line.len()
    }

    /// Cuts so many bytes off the end: the beginning of a record, which another sink was killed in and which is written
    /// again. `false`: the disk refuses, and they stay.
    pub fn cut_off(&mut self, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let cut = self.disk.size().and_then(|size| self.disk.cut(size.saturating_sub(bytes)));
        self.size = self.disk.size().unwrap_or(0);
        cut.is_ok()
    }

    /// Appends whole records, or counts them as lost. `stamp` and `now`: the present, for a marker line.
    pub fn write(&mut self, records: &[u8], stamp: &[u8; STAMP_LEN], now: Instant) {
        if let Health::Failing { retry_at, .. } = self.health
            && (now < retry_at || !self.mark(stamp, now))
        {
            return self.lose(records);
        }
        let written = self.append(records, now);
        self.lose(&records[written..]);
    }

    /// The disk refused a write, and this is when to call [`retry`](Self::retry) though nothing new has come.
    pub fn retry_at(&self) -> Option<Instant> {
        match self.health {
            Health::Open => None,
            Health::Failing { retry_at, .. } => Some(retry_at),
        }
    }

    /// Tries again to write, at least the marker line with the count of what was lost.
    pub fn retry(&mut self, stamp: &[u8; STAMP_LEN], now: Instant) {
        if self.retry_at().is_some_and(|at| at <= now) {
            self.mark(stamp, now);
        }
    }

    /// Writes the marker line at the end of a life, whatever the back-off says.
    pub fn close(&mut self, stamp: &[u8; STAMP_LEN], now: Instant) {
        if self.unmarked > 0 {
            self.mark(stamp, now);
        }
    }

    /// The container's bytes that could not be written and are lost.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn lose(&mut self, records: &[u8]) {
        let bytes = payload(records);
        self.lost += bytes;
        self.unmarked += bytes;
    }

    /// One line that says how much is missing here. `false`: the disk still refuses.
    fn mark(&mut self, stamp: &[u8; STAMP_LEN], now: Instant) -> bool {
        if self.unmarked > 0 {
            let text = format!("{} bytes of output lost: disk full", self.unmarked);
            if !self.remark(stamp, &text, now) {
                return false;
            }
            self.unmarked = 0;
        }
        self.health = Health::Open;
        true
    }

    /// Writes all, or up to the last record that went in whole; says how far.
    fn append(&mut self, records: &[u8], now: Instant) -> usize {
        let mut done = 0;
        while done < records.len() {
            match self.disk.append(&records[done..]) {
                Ok(n) if n > 0 => {
                    done += n;
                    self.size += u64::try_from(n).unwrap_or(0);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                _ => {
                    self.fail(now);
                    return self.heal(&records[..done]);
                }
            }
        }
        done
    }

    fn fail(&mut self, now: Instant) {
        let pause = match self.health {
            Health::Open => RETRY_FIRST,
            Health::Failing { pause, .. } => (pause * 2).min(RETRY_LONGEST),
        };
        self.health = Health::Failing { retry_at: now + pause, pause };
    }

    /// Cuts a torn record off the end; says how much of what was written stays.
    fn heal(&mut self, written: &[u8]) -> usize {
        let whole = memrchr(b'\n', written).map_or(0, |at| at + 1);
        let torn = written.len() - whole;
        if torn > 0 {
            // Nobody else appends to it, so its end is ours. Where even the cut fails, one torn line stays in a
            // file on a broken disk: there is nothing left to do about it, and its loss is counted.
            self.cut_off(torn);
        }
        whole
    }
}

fn open(path: &Path) -> Result<File, OpenError> {
    let wrong = |source| OpenError::Open { path: path.to_owned(), source };
    // NONBLOCK: a planted pipe must not hang the open; it means nothing for a regular file.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(FILE_MODE).custom_flags(flags.bits());
    let file = options.open(path).map_err(wrong)?;
    if !file.metadata().map_err(wrong)?.is_file() {
        return Err(OpenError::NotRegular { path: path.to_owned() });
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
