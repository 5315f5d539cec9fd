//! Memory for the data path that costs nothing while a container is silent: mapped once, given back to the kernel
//! when idle, filled with zeroes by it at the next touch.
//!
//! Owns: one anonymous mapping. Never: knows what it is used for.

use std::{num::NonZeroUsize, ptr::NonNull, slice};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

use super::PAGE;

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

/// Gives back the pages of the stack that a deeper call has touched and nobody uses now: half of an idle shim's
/// stack, which once held a launch.
pub(crate) fn release_stack() {
    let here = 0u8;
    let deepest_in_use = (&raw const here).addr() - STACK_MARGIN;
    let end = deepest_in_use / PAGE * PAGE;
    let begin = std::ptr::without_provenance_mut::<libc::c_void>(end - STACK_SPAN);
    // SAFETY: the range ends a page below this frame, beyond the red zone; a stack grows down and no signal handler
    // runs in this program, so nothing in it is alive. Where part of it is not mapped, the call says so and does the
    // rest.
    unsafe { libc::madvise(begin, STACK_SPAN, libc::MADV_DONTNEED) };
}

/// Stays between the present frame and what is given back: the call's own frames and the red zone.
const STACK_MARGIN: usize = 4096;

/// How far down is looked: more than the deepest call uses.
const STACK_SPAN: usize = 96 * 1024;

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: the range is exactly our mapping and nothing borrows it any more.
        let unmapped = unsafe { munmap(self.at, self.len.get()) };
        unmapped.ok();
    }
}
