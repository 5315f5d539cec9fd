//! Giving away what a process has: rights, descriptors; and the one fork that is not followed by another program.
//!
//! Owns: the raw calls. Never: decides when.

use nix::{
    errno::Errno,
    sys::prctl,
    unistd::{ForkResult, fork},
};

use super::check;

/// Which side of a fork this is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Forked {
    /// The new process.
    Child,
    /// The old one, with the number of the new one: true until it is reaped.
    Parent(i32),
}

/// Highest capability number there may be (the sets have 64 bits).
const CAPABILITY_MAX: libc::c_ulong = 63;

/// Version 3 of the kernel's capability interface (linux/capability.h): two 32-bit words a set.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// Makes a copy of this process.
pub(crate) fn fork_once() -> nix::Result<Forked> {
    // SAFETY: this program has one thread, so the child may do all that the parent might.
    match unsafe { fork() }? {
        ForkResult::Child => Ok(Forked::Child),
        ForkResult::Parent { child } => Ok(Forked::Parent(child.as_raw())),
    }
}

/// Gives up every capability for good, and the ways back to one.
pub(crate) fn drop_rights() -> nix::Result<()> {
    prctl::set_no_new_privs()?;
    for capability in 0..=CAPABILITY_MAX {
        // SAFETY: plain numbers.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        match check(dropped) {
            // Past the last one that this kernel knows.
            Err(Errno::EINVAL) => break,
            other => drop(other?),
        }
    }
    let head = [CAPABILITY_VERSION, 0];
    // Effective, permitted, inheritable; low words, then high ones.
    let none = [0u32; 6];
    // SAFETY: both point to memory of the size that this version of the interface has; the call only reads.
    let set = unsafe { libc::syscall(libc::SYS_capset, head.as_ptr(), none.as_ptr()) };
    check(if set == 0 { 0 } else { -1 }).map(drop)
}

/// Closes every descriptor above 2. For a process that uses none any more.
pub(crate) fn close_all_but_standard() {
    // SAFETY: three plain numbers; the caller goes on without any owner of a descriptor. A kernel before 5.9 refuses,
    // and what stays open is the end of a pipe that nobody reads.
    unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
}
