//! Memory that outlives the process: a file in memory whose first part is mapped here and whose descriptor somebody
//! else may hold. What was stored in it before a SIGKILL is there after it.
//!
//! Owns: one memory file and its mapping. Never: knows what the bytes mean.

use std::{
    fs::File,
    io,
    num::NonZeroUsize,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::{
    errno::Errno,
    sys::{
        memfd::{MFdFlags, memfd_create},
        mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap},
        stat::fstat,
    },
    unistd::ftruncate,
};

use super::PAGE;

/// A memory file. Its first page is words, the rest of the mapped part is bytes.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    file: File,
    at: NonNull<libc::c_void>,
    mapped: NonZeroUsize,
}

/// Words of the first page.
pub(crate) const WORDS: usize = PAGE / size_of::<u64>();

impl SharedMemory {
    /// An empty one of this size of which the first `mapped` bytes are mapped.
    pub(crate) fn new(size: usize, mapped: NonZeroUsize) -> nix::Result<Self> {
        let fd = memfd_create(c"taffrail-log", MFdFlags::MFD_CLOEXEC)?;
        ftruncate(&fd, libc::off_t::try_from(size).map_err(|_| Errno::EFBIG)?)?;
        Self::map(fd, mapped)
    }

    /// One that another process made. EINVAL: it has not this size.
    pub(crate) fn of(fd: OwnedFd, size: usize, mapped: NonZeroUsize) -> nix::Result<Self> {
        if usize::try_from(fstat(&fd)?.st_size) != Ok(size) {
            return Err(Errno::EINVAL);
        }
        Self::map(fd, mapped)
    }

    fn map(fd: OwnedFd, mapped: NonZeroUsize) -> nix::Result<Self> {
        assert!(mapped.get() >= PAGE, "the page of words is mapped");
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let at = unsafe { mmap(None, mapped, rights, MapFlags::MAP_SHARED, &fd, 0) }?;
        Ok(Self { file: fd.into(), at, mapped })
    }

    /// A word of the first page. Stored and loaded in the order of the program, as far as a successor can see: it
    /// begins when this process has ended.
    pub(crate) fn word(&self, number: usize) -> &AtomicU64 {
        assert!(number < WORDS, "the first page holds {WORDS} words");
        // SAFETY: within the first page of the mapping.
        let word = unsafe { self.at.as_ptr().cast::<u64>().add(number) };
        // SAFETY: the mapping is page-aligned; words are only reached as atomics, since `bytes` gives none of the first
        // page.
        unsafe { AtomicU64::from_ptr(word) }
    }

    /// Loads a word.
    pub(crate) fn load(&self, number: usize) -> u64 {
        self.word(number).load(Ordering::Acquire)
    }

    /// Stores a word.
    pub(crate) fn store(&self, number: usize, value: u64) {
        self.word(number).store(value, Ordering::Release);
    }

    /// The mapped bytes behind the page of words.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: within the mapping, which is larger than a page.
        let behind = unsafe { self.at.as_ptr().cast::<u8>().add(PAGE) };
        // SAFETY: the mapping is ours, readable and writable until drop; `self` is borrowed mutably for as long as the
        // slice lives, and no other process maps it while this one lives. Any byte is a valid `u8`.
        unsafe { slice::from_raw_parts_mut(behind, self.mapped.get() - PAGE) }
    }

    /// Gives the memory of the mapped bytes back: they are zero afterwards. The page of words stays, but is charged to
    /// this process no more until it is touched.
    pub(crate) fn release(&mut self) {
        let Some(behind) = NonZeroUsize::new(self.mapped.get() - PAGE) else { return };
        // SAFETY: within the mapping; nothing borrows it, since `self` is borrowed mutably.
        let bytes = unsafe { self.at.byte_add(PAGE) };
        // SAFETY: as above; the pages behind the first leave the file.
        unsafe { madvise(bytes, behind.get(), MmapAdvise::MADV_REMOVE) }.ok();
        // SAFETY: as above; a shared file's page is only unmapped by this and read again at the next touch.
        unsafe { madvise(self.at, PAGE, MmapAdvise::MADV_DONTNEED) }.ok();
    }

    /// Writes anywhere; what is mapped shows it.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: usize) -> io::Result<()> {
        self.file.write_all_at(bytes, u64::try_from(offset).map_err(io::Error::other)?)
    }

    /// Reads from anywhere.
    pub(crate) fn read_at(&self, length: usize, offset: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, u64::try_from(offset).map_err(io::Error::other)?)?;
        Ok(bytes)
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the range is exactly our mapping and nothing borrows it any more.
        unsafe { munmap(self.at, self.mapped.get()) }.ok();
    }
}
