//! The leak checker finds what is left: one of each kind is left on purpose, and taken away again.
//!
//! Never: leaves anything for the checker's own last look.

use std::{
    cell::RefCell,
    fs,
    io::Write,
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tests::{
    daemon::{Daemon, Options, ShimEnds},
    eventually::{eventually, within},
    leaks::Snapshot,
    limits::SOON,
};

/// What the checker finds beyond the baseline.
pub(super) fn found(daemon: &Daemon, before: &Snapshot) -> String {
    daemon.snapshot().more_than(before).map(|difference| difference.to_string()).unwrap_or_default()
}

/// Leaves something, sees it found, and takes it away.
pub(super) fn check(daemon: &Daemon, expected: &str, leave: impl FnOnce(), take_away: impl FnOnce()) {
    let before = daemon.snapshot();
    leave();
    let is_found = within(SOON, || found(daemon, &before).contains(expected).then_some(()));
    let what = found(daemon, &before);
    take_away();
    assert!(is_found.is_some(), "{expected:?} was not found, but: {what:?}");
    eventually(SOON, &format!("no {expected}"), || {
        (!found(daemon, &before).contains(expected)).then_some(())
    });
}

fn mount(path: &Path) {
    fs::create_dir_all(path).unwrap();
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("tmpfs"), path, Some("tmpfs"), flags, None::<&str>).unwrap();
}

fn unmount(path: &Path) {
    nix::mount::umount2(path, nix::mount::MntFlags::MNT_DETACH).unwrap();
    fs::remove_dir(path).unwrap();
}

#[test]
fn what_is_left_is_found() {
    let Some(daemon) = Daemon::start() else { return };
    let place = daemon.path("left");
    check(&daemon, "mount left over", || mount(&place), || unmount(&place));
    let file = daemon.path("root/images/abc.json.new");
    let put = |path: &Path| drop(fs::File::create(path).unwrap());
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    check(&daemon, "file left over", || put(&file), || remove(&file));
    check(&daemon, "store fault left over: half written", || put(&file), || remove(&file));
    let layer = daemon.path("root/snapshots/layers/9999");
    let make = || fs::create_dir(&layer).unwrap();
    check(&daemon, "layer without a record: 9999", make, || fs::remove_dir(&layer).unwrap());
    let group = Path::new("/sys/fs/cgroup/freezer").join(daemon.instance()).join("left");
    if group.parent().is_some_and(Path::exists) {
        let make = || fs::create_dir(&group).unwrap();
        check(&daemon, "cgroup left over", make, || fs::remove_dir(&group).unwrap());
    }
    let network = daemon.network();
    let link = || drop(network.run(&["ip", "link", "add", "left0", "type", "bridge"]));
    check(&daemon, "link left over", link, || drop(network.run(&["ip", "link", "del", "left0"])));
    let rule = || drop(network.run(&["nft", "add", "table", "ip", "left"]));
    check(&daemon, "firewall left over", rule, || {
        drop(network.run(&["nft", "delete", "table", "ip", "left"]))
    });
    let socket = daemon.path("state/left.sock");
    let listener = RefCell::new(None);
    let listen = || drop(listener.replace(Some(network.inside(|| UnixListener::bind(&socket).unwrap()))));
    let close = || {
        drop(listener.take());
        remove(&socket);
    };
    check(&daemon, "socket left over", listen, close);
}

#[test]
fn a_mount_in_a_namespace_of_another_is_found() {
    let Some(daemon) = Daemon::start() else { return };
    let place = daemon.path("left");
    fs::create_dir(&place).unwrap();
    let mut unshared = None;
    let script = format!("mount -t tmpfs none {}; echo; read line", place.display());
    let mut leave = || {
        let mut child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        unshared = Some(child);
    };
    let before = Snapshot::take(daemon.places(), daemon.nursery(), Some(daemon.pid()));
    leave();
    let what = found(&daemon, &before);
    let mut child = unshared.unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    child.wait().unwrap();
    fs::remove_dir(&place).unwrap();
    assert!(what.contains("mount in another namespace left over"), "{what:?}");
}

#[test]
fn a_shim_that_dies_of_itself_is_found() {
    let options = Options { shim_ends: ShimEnds::Any, ..Options::default() };
    let Some(daemon) = Daemon::start_with(options.clone()) else { return };
    let pod = daemon.run_pod("dies");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    let shims = daemon.client().shims().unwrap().containers;
    let pid = shims.iter().find(|shim| shim.container_id == id).unwrap().shim_pid;
    // As a panic ends it.
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGABRT).unwrap();
    let bugs = eventually(SOON, "the daemon's word", || {
        Some(daemon.bugs_but(ShimEnds::Killed)).filter(|bugs| !bugs.is_empty())
    });
    assert!(bugs.len() == 1 && bugs[0].contains("signal 6"), "{bugs:?}");
}
