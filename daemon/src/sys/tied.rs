//! A child that does not outlive the daemon: the kernel kills it when its parent dies, however that dies.
//!
//! Never: for what has to survive the daemon, such as a shim.

use std::io;

use nix::{
    sys::{prctl, signal::Signal},
    unistd::{getpid, getppid},
};
use tokio::process::Command;

/// Lets the kernel send SIGKILL to the child when its parent ends (PR_SET_PDEATHSIG, prctl(2)). The child's own
/// children are not killed with it.
///
/// "Parent" means the *thread* that spawns: spawn it from a worker of the runtime or from the main thread, which live
/// as long as the daemon, never from a thread of a blocking pool, which ends when it is idle.
pub fn tie(command: &mut Command) {
    let parent = getpid();
    let prepare = move || -> io::Result<()> {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // It may have died before the kernel was told; then nobody would ever send the signal.
        if getppid() == parent { Ok(()) } else { Err(io::ErrorKind::NotConnected.into()) }
    };
    // SAFETY: between fork and exec it makes two plain system calls, takes no lock and no memory.
    unsafe { command.pre_exec(prepare) };
}

#[cfg(test)]
mod tests {
    use tokio::process::Command;

    #[tokio::test]
    async fn the_kernel_is_told() {
        let mut command = Command::new("sh");
        // The kernel shows the signal nowhere; that the program starts at all is what there is to see here. That it is
        // killed is seen with a real daemon in tests/it/cni.rs.
        command.args(["-c", "exit 7"]);
        super::tie(&mut command);
        assert_eq!(command.status().await.unwrap().code(), Some(7));
    }
}
