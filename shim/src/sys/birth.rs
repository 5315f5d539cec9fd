//! What a shim does to itself once, before its first child, and what its children get back.
//!
//! Owns: process attributes. Never: a file of the container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::{
    sys::{
        prctl,
        resource::{Resource, getrlimit, rlim_t, setrlimit},
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
        stat::{Mode, SFlag, fstat, umask},
    },
    unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid},
};

use super::check;

/// Limits as the daemon gave them; a child gets exactly these.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inherited {
    /// Soft and hard bound of open files.
    pub(crate) files: (rlim_t, rlim_t),
    /// Soft and hard bound of core dumps.
    pub(crate) core: (rlim_t, rlim_t),
}

/// Signals that would end a program by default and must not end a shim: only Dismiss does.
const IGNORED: [Signal; 9] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGPIPE,
    Signal::SIGALRM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
];

/// Closes every descriptor above 2, whatever the daemon forgot: an inherited one keeps ports and pipes busy for as
/// long as the shim, or a container into which it leaks, lives. Called before anything of our own is open.
pub(crate) fn close_inherited() -> nix::Result<()> {
    // SAFETY: the call takes three plain numbers. No descriptor above 2 has an owner in this program yet.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
    match check(if done == 0 { 0 } else { -1 }) {
        // Linux before 5.9: the daemon's own descriptors are close-on-exec anyway.
        Err(nix::errno::Errno::ENOSYS) => Ok(()),
        other => other.map(drop),
    }
}

/// A session of its own, adoption of orphans, name, memory and limits. Returns what children get back.
pub(crate) fn become_supervisor() -> nix::Result<Inherited> {
    // Fails where we already lead a session, which is as good.
    setsid().ok();
    prctl::set_child_subreaper(true)?;
    prctl::set_name(c"taffrail-shim")?;
    // A huge page would be 2 MiB for a program that touches a few kilobytes.
    prctl::set_thp_disable(true).ok();
    umask(Mode::empty());
    nix::unistd::chdir("/")?;
    for signal in IGNORED {
        set_handler(signal, SigHandler::SigIgn)?;
    }
    // Ignored, which is inherited, it would make the kernel throw statuses away.
    set_handler(Signal::SIGCHLD, SigHandler::SigDfl)?;
    let inherited =
        Inherited { files: getrlimit(Resource::RLIMIT_NOFILE)?, core: getrlimit(Resource::RLIMIT_CORE)? };
    setrlimit(Resource::RLIMIT_CORE, 0, inherited.core.1)?;
    // Many execs at once need many descriptors; the hard bound is the administrator's word.
    setrlimit(Resource::RLIMIT_NOFILE, inherited.files.1, inherited.files.1)?;
    Ok(inherited)
}

/// A name of its own, for people who look at processes.
pub(crate) fn name(name: &std::ffi::CStr) -> nix::Result<()> {
    prctl::set_name(name)
}

/// Standard output and standard error go nowhere where they are pipes: whoever reads one waits for its end, which a
/// process that stays would never bring.
pub(crate) fn let_pipes_go(null: impl AsFd) -> nix::Result<()> {
    let is_pipe = |fd: BorrowedFd<'_>| {
        fstat(fd).is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO)
    };
    // SAFETY: as for standard input.
    if is_pipe(unsafe { BorrowedFd::borrow_raw(libc::STDOUT_FILENO) }) {
        dup2_stdout(null.as_fd())?;
    }
    // SAFETY: as above.
    if is_pipe(unsafe { BorrowedFd::borrow_raw(libc::STDERR_FILENO) }) {
        dup2_stderr(null)?;
    }
    Ok(())
}

/// Blocks SIGCHLD, so that it is read from a descriptor instead of interrupting.
pub(crate) fn block_child_signal() -> nix::Result<SigSet> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    set.thread_block()?;
    Ok(set)
}

/// Takes standard input away as a descriptor of its own and puts `null` in its place.
pub(crate) fn take_stdin(null: impl AsFd) -> nix::Result<OwnedFd> {
    // Not through `std::io::stdin`, which would make a buffer of 8 KiB that lives as long as the shim.
    // SAFETY: descriptor 0 is open: Rust's start-up opens /dev/null where it is missing, and nothing closes it.
    let stdin = unsafe { BorrowedFd::borrow_raw(libc::STDIN_FILENO) };
    let taken = stdin.try_clone_to_owned();
    let taken = taken.map_err(|e| nix::errno::Errno::from_raw(e.raw_os_error().unwrap_or(libc::EBADF)))?;
    dup2_stdin(null)?;
    Ok(taken)
}

/// Standard output and standard error go nowhere from now on.
pub(crate) fn silence(null: impl AsFd) -> nix::Result<()> {
    dup2_stdout(null.as_fd())?;
    dup2_stderr(null)
}

fn set_handler(signal: Signal, handler: SigHandler) -> nix::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler is one of the kernel's own, so no code of ours ever runs in signal context.
    unsafe { sigaction(signal, &action) }.map(drop)
}
