//! Memory for the data path that costs nothing while a container is silent: mapped once, given back to the kernel
//! when idle, filled with zeroes by it at the next touch.
//!
//! Owns: one anonymous mapping. Never: knows what it is used for.

use std::{num::NonZeroUsize, ptr::NonNull, slice};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

/// An anonymous private mapping.
#[derive(Debug)]
pub(crate) struct Arena {
    at: NonNull<libc::c_void>,
    len: NonZeroUsize,
}

impl Arena {
    /// Maps this many bytes; untouched, they take no memory.
    pub(crate) fn new(len: NonZeroUsize) -> nix::Result<Self> {
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let at = unsafe { mmap_anonymous(None, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) }?;
        Ok(Self { at, len })
    }

    /// The memory.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is ours alone, readable, writable and `len` long until drop, and `self` is borrowed
        // mutably for as long as the slice lives. Any byte pattern is a valid `u8`.
        unsafe { slice::from_raw_parts_mut(self.at.as_ptr().cast(), self.len.get()) }
    }

    /// Gives the pages back. What was in them is gone.
    pub(crate) fn release(&mut self) {
        // SAFETY: the range is exactly our mapping and nothing borrows it, since `self` is borrowed mutably.
        let given = unsafe { madvise(self.at, self.len.get(), MmapAdvise::MADV_DONTNEED) };
        // It only saves memory; there is nothing to do where the kernel refuses.
        given.ok();
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: the range is exactly our mapping and nothing borrows it any more.
        let unmapped = unsafe { munmap(self.at, self.len.get()) };
        unmapped.ok();
    }
}
