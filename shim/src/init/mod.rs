//! The role of a pod's first process: makes a PID namespace, pins it, and stays in it as process 1, which reaps
//! what nobody else waits for. Without it the namespace would end with whoever came first.
//!
//! Containers of the pod see it and may be root, so it has nothing to take: no capability, no file, an empty root
//! folder, the pod's own namespaces. It ends when it is killed. Owns: the namespace until its pin holds it. Never:
//! joins a container; runs a program.

mod order;

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::{
        prctl,
        signal::{SigSet, Signal},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, pipe2, pivot_root, setsid},
};

use self::order::Order;
use crate::{
    fault::{Because, Fault},
    limits::PIN_ORDER_MAX,
    sys::{
        confine::{Forked, close_all_but_standard, drop_rights, fork_once},
        pidfd::PidFd,
    },
};

/// The score by which the kernel spares it when memory runs out: its end is the whole pod's. What other runtimes give
/// a pod's first process; a host that refuses keeps its own.
const OOM_SCORE: &[u8] = b"-998";

/// What it says when it is ready.
const READY: u8 = 1;

/// Reads an order from standard input and carries it out; ends when the namespace is pinned and its first process is
/// ready, or takes back what it made.
pub(crate) fn run() -> Result<(), Fault> {
    let mut text = String::new();
    let most = u64::try_from(PIN_ORDER_MAX).unwrap_or(u64::MAX);
    std::io::stdin().take(most).read_to_string(&mut text).because(|| "the order cannot be read".into())?;
    let order = Order::parse(&text)?;
    for path in &order.join {
        let shown = || format!("the namespace {} cannot be joined", path.display());
        let namespace = File::open(path).because(shown)?;
        setns(namespace, CloneFlags::empty()).because(shown)?;
    }
    let score = OpenOptions::new().write(true).open("/proc/self/oom_score_adj");
    // Without CAP_SYS_RESOURCE the host refuses; then it is spared as little as the daemon.
    drop(score.and_then(|mut file| file.write_all(OOM_SCORE)));
    unshare(CloneFlags::CLONE_NEWPID).because(|| "the PID namespace cannot be made".into())?;
    let (answer, tell) = pipe2(OFlag::O_CLOEXEC).because(|| "no pipe can be made".into())?;
    match fork_once().because(|| "the first process cannot be made".into())? {
        Forked::Child => {
            drop(answer);
            // Whatever fails here is seen as silence at the other end.
            if prepare(&order.pin).is_ok() && File::from(tell).write_all(&[READY]).is_ok() {
                close_all_but_standard();
                reap_for_ever();
            }
            Err(Fault::new("the first process could not be prepared"))
        }
        Forked::Parent(child) => {
            drop(tell);
            let process = PidFd::open(child).because(|| "the first process cannot be held".into())?;
            let mut ready = [0];
            let done = pin(child, &order.pin).and_then(|()| {
                File::from(answer).read_exact(&mut ready).because(|| "the first process is not ready".into())
            });
            if done.is_err() {
                process.kill();
                take_back(&order.pin);
            }
            done
        }
    }
}

fn pin(child: i32, path: &Path) -> Result<(), Fault> {
    let shown = || format!("the pin {} cannot be made", path.display());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path).because(shown)?;
    let from = format!("/proc/{child}/ns/pid");
    mount(Some(from.as_str()), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).because(shown)
}

/// Nobody else uses it yet, and what cannot be undone here is the daemon's to reclaim by name.
fn take_back(path: &Path) {
    umount2(path, MntFlags::MNT_DETACH).ok();
    fs::remove_file(path).ok();
}

/// Leaves everything behind that a container could get at through this process.
fn prepare(pin: &Path) -> nix::Result<()> {
    // Signals from inside find nobody; SIGKILL from outside is not asked.
    SigSet::all().thread_block()?;
    setsid()?;
    prctl::set_name(c"taffrail-init")?;
    let null = File::open("/dev/null").map_err(|_| Errno::ENODEV)?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    empty_root(pin.parent().unwrap_or(Path::new("/proc")))?;
    drop_rights()?;
    // Last, since it takes this process's own /proc entries from it: who has not CAP_SYS_PTRACE cannot look into it.
    prctl::set_dumpable(false)
}

/// An empty, read-only root folder in a mount namespace of its own. `over`: any folder to mount it on first.
fn empty_root(over: &Path) -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_PRIVATE | MsFlags::MS_REC, None::<&str>)?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("empty"), over, Some("tmpfs"), flags, Some("size=4k,mode=0555"))?;
    chdir(over)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")
}

fn reap_for_ever() {
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            // Nobody has ended. An interruption is as good as a child: it is looked at again.
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => {
                children.wait().ok();
            }
            // One was reaped, be it by a signal that has no name here.
            _ => {}
        }
    }
}
