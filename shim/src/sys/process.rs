//! Starts a program as a child: the few lines between fork and exec, where nothing may be allocated or fail
//! silently.
//!
//! Owns: what a child is born with: an almost empty environment, plain signals and limits, its three streams.
//! Never: waits for it.

use std::{
    ffi::{CString, c_char},
    fs::File,
    io::Read,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    ptr,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::resource::rlim_t,
    unistd::{ForkResult, fork, pipe2},
};

use protocol::rundir::CONTAINER_VARIABLE;

use super::{birth::Inherited, pidfd::PidFd};

/// A program about to be started.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    /// Absolute path.
    pub(crate) path: &'a str,
    /// Arguments after the program's name.
    pub(crate) args: &'a [String],
    /// Standard input, output and error.
    pub(crate) streams: [BorrowedFd<'a>; 3],
    /// The limits it gets.
    pub(crate) limits: Inherited,
    /// The container that it works for: what it starts has that in its environment too.
    pub(crate) container: Option<&'a str>,
}

/// A child that has become its program.
#[derive(Debug)]
pub(crate) struct Child {
    /// The child.
    pub(crate) process: PidFd,
    /// Its number, true until it is reaped.
    pub(crate) pid: i32,
}

/// A runtime needs to find newuidmap and the like; nothing of the daemon's environment is its business.
const ENVIRONMENT: [&std::ffi::CStr; 1] =
    [c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];

/// Highest signal number of Linux.
const SIGNAL_MAX: libc::c_int = 64;

/// Exit code of a child that did not become its program. The errno comes by the pipe; this is for a successor, whom
/// nobody has told whether the program ran. No runtime ends so: theirs are 0, 1, 2 and what shells make of signals.
pub(crate) const NOT_STARTED: u8 = 0xfa;

impl Program<'_> {
    /// Starts it in a process group of its own. Fails with the errno of exec where that failed.
    ///
    /// The child becomes its program only when `tell` has come back: whoever must know of it knows it before it can do
    /// anything, and where this process is killed in between, the child ends.
    pub(crate) fn start(&self, tell: impl FnOnce(&PidFd, i32)) -> nix::Result<Child> {
        let path = CString::new(self.path).map_err(|_| Errno::EINVAL)?;
        let args: Vec<CString> = std::iter::once(Ok(path.clone()))
            .chain(self.args.iter().map(|arg| CString::new(arg.as_str())))
            .collect::<Result<_, _>>()
            .map_err(|_| Errno::EINVAL)?;
        let args = pointers(args.iter().map(CString::as_c_str));
        #[cfg(feature = "failpoints")]
        let folder = failpoints();
        let mark = self.container.and_then(|id| CString::new(format!("{CONTAINER_VARIABLE}={id}")).ok());
        let environment = ENVIRONMENT.into_iter().chain(mark.as_deref());
        #[cfg(feature = "failpoints")]
        let environment = environment.chain(folder.as_deref());
        let environment = pointers(environment);
        let (answer, speak) = pipe2(OFlag::O_CLOEXEC)?;
        let (gate, open) = pipe2(OFlag::O_CLOEXEC)?;
        let streams = self.streams.map(|stream| stream.as_raw_fd());
        // SAFETY: this program has one thread, so the child may do all that the parent might; it still only makes
        // system calls on memory prepared above.
        match unsafe { fork() }? {
            ForkResult::Child => {
                drop(open);
                if !is_opened(&gate) {
                    give_up(&speak, Errno::ECANCELED);
                }
                let errno = become_program(&path, &args, &environment, streams, &self.limits);
                give_up(&speak, errno)
            }
            ForkResult::Parent { child } => {
                drop((speak, gate));
                let pid = child.as_raw();
                // Not reaped yet, so the number is still this child's.
                let process = PidFd::open(pid)?;
                tell(&process, pid);
                // Fails only where the child has ended already, which the answer tells.
                nix::unistd::write(&open, &[1]).ok();
                match read_errno(answer) {
                    None => Ok(Child { process, pid }),
                    Some(errno) => {
                        super::pidfd::reap_child(pid);
                        Err(errno)
                    }
                }
            }
        }
    }
}

/// Where a test says what is to happen: all that descend from the daemon look there.
#[cfg(feature = "failpoints")]
fn failpoints() -> Option<CString> {
    use protocol::failpoint::FOLDER;
    CString::new(format!("{FOLDER}={}", std::env::var(FOLDER).ok()?)).ok()
}

fn pointers<'a>(texts: impl Iterator<Item = &'a std::ffi::CStr>) -> Vec<*const c_char> {
    texts.map(std::ffi::CStr::as_ptr).chain(std::iter::once(ptr::null())).collect()
}

/// In the child: returns only where it failed.
fn become_program(
    path: &CString,
    args: &[*const c_char],
    environment: &[*const c_char],
    streams: [RawFd; 3],
    limits: &Inherited,
) -> Errno {
    // SAFETY: plain numbers; a group of its own lets the whole command be told apart.
    unsafe { libc::setpgid(0, 0) };
    // The kernel's own `struct sigaction`: all zeroes is the default action. The C library's call refuses the signals
    // that it keeps for itself, which a parent may have ignored like any other.
    let default = [0u64; 4];
    for signal in 1..=SIGNAL_MAX {
        // SAFETY: the struct is read and outlives the call; the old one is not asked for. The two signals whose
        // action cannot be set are refused.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, ptr::null_mut::<u64>(), 8usize)
        };
    }
    set_limit(libc::RLIMIT_NOFILE, limits.files);
    set_limit(libc::RLIMIT_CORE, limits.core);
    // SAFETY: plain numbers.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 0, 0, 0, 0) };
    // SAFETY: a plain number; what runtimes and their containers expect to inherit.
    unsafe { libc::umask(0o022) };
    for (from, to) in streams.into_iter().zip(0..) {
        // SAFETY: plain numbers. All of `streams` are above 2, so none is overwritten before it is used, and the
        // copies are without close-on-exec.
        if unsafe { libc::dup2(from, to) } < 0 {
            return Errno::last();
        }
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the call fills the set it is given.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the set was filled above; the old one is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()) };
    // SAFETY: the path ends with a zero byte, both lists with a null pointer, and what they point to lives in the
    // caller's frame.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), environment.as_ptr()) };
    Errno::last()
}

#[cfg(target_env = "musl")]
type Which = libc::c_int;
#[cfg(not(target_env = "musl"))]
type Which = libc::__rlimit_resource_t;

fn set_limit(which: Which, (soft, hard): (rlim_t, rlim_t)) {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the struct is read and outlives the call.
    unsafe { libc::setrlimit(which, &raw const limit) };
}

/// In the child: whether the parent has opened the gate, before it ended.
fn is_opened(gate: &OwnedFd) -> bool {
    let mut byte = 0u8;
    loop {
        // SAFETY: the buffer is one writable byte.
        let count = unsafe { libc::read(gate.as_fd().as_raw_fd(), (&raw mut byte).cast(), 1) };
        if count >= 0 || Errno::last() != Errno::EINTR {
            return count == 1;
        }
    }
}

fn give_up(tell: &OwnedFd, errno: Errno) -> ! {
    let number = (errno as i32).to_ne_bytes();
    // SAFETY: the buffer is readable for its length; a failure leaves the parent with end of file, which it takes
    // as success, and then with the exit status below.
    unsafe { libc::write(tell.as_fd().as_raw_fd(), number.as_ptr().cast(), number.len()) };
    // SAFETY: ends the child without running anything of the parent's.
    unsafe { libc::_exit(NOT_STARTED.into()) }
}

/// The errno that the child sent, or `None` where exec closed the pipe.
fn read_errno(answer: OwnedFd) -> Option<Errno> {
    let mut number = [0; 4];
    File::from(answer).read_exact(&mut number).ok()?;
    Some(Errno::from_raw(i32::from_ne_bytes(number)))
}
