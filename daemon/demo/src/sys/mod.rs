//! The few system calls that std has no word for.
//!
//! Owns: all unsafe code of this program. Never: decides anything.

use std::{
    io,
    sync::atomic::{AtomicI32, Ordering},
};

/// What the process ends with at SIGTERM.
static TERM_CODE: AtomicI32 = AtomicI32::new(0);

extern "C" fn leave(_signal: libc::c_int) {
    // SAFETY: _exit is async-signal-safe and takes any number.
    unsafe { libc::_exit(TERM_CODE.load(Ordering::Relaxed)) }
}

/// From now on SIGTERM ends the process with this code, as PID 1 too.
pub(crate) fn exit_at_term(code: u8) {
    TERM_CODE.store(i32::from(code), Ordering::Relaxed);
    let handler = leave as extern "C" fn(libc::c_int);
    // SAFETY: the handler is async-signal-safe: it reads an atomic and calls _exit.
    unsafe { libc::signal(libc::SIGTERM, handler as libc::sighandler_t) };
}

/// From now on SIGTERM does nothing, in children too.
pub(crate) fn ignore_term() {
    // SAFETY: SIG_IGN is a valid disposition for SIGTERM.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
}

/// Leaves the session and process group of the parent.
pub(crate) fn new_session() -> io::Result<()> {
    // SAFETY: no arguments, no memory.
    match unsafe { libc::setsid() } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Sends a signal to this process, with its default disposition.
pub(crate) fn raise(signal: i32) -> io::Result<()> {
    // SAFETY: SIG_DFL is a valid disposition; a bad number is refused by the kernel.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: a bad number is refused by the kernel.
    match unsafe { libc::raise(signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Arguments that a system call can have.
pub(crate) const CALL_ARGUMENTS: usize = 6;

/// Makes any system call with numbers only; the error's number, 0 for none.
pub(crate) fn call(number: i64, args: [i64; CALL_ARGUMENTS]) -> i32 {
    let [a, b, c, d, e, f] = args;
    // SAFETY: tests give numbers that are no addresses of this program, so no memory of it is written; one that asks
    // for harm gets it in a container of its own.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => io::Error::last_os_error().raw_os_error().unwrap_or(-1),
        _ => 0,
    }
}

/// Closes stdout and stderr for good.
pub(crate) fn close_outputs() {
    for number in [libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: a plain number; nothing of ours writes to either afterwards but to fail.
        unsafe { libc::close(number) };
    }
}
