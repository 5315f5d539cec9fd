//! The leak checker finds what is left, the rest of the kinds: processes and what they hold, descriptors of daemon and
//! keeper, addresses and routes, settings, runtimes' state, work that is under way.
//!
//! Never: leaves anything for the checker's own last look; changes a setting of the host.

use std::{
    cell::RefCell,
    fs,
    io::Write,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use protocol::keeperdir::KeeperDir;
use tests::{
    ask,
    daemon::Daemon,
    eventually::{eventually, within},
    leaks::Snapshot,
    limits::SOON,
};

use super::{
    keeper::kill9,
    leaks::{check, found},
};

/// Starts a program below the daemon's nursery, sees what it has found, and ends it.
fn check_program(daemon: &mut Daemon, expected: &str, words: &[&str]) {
    let before = daemon.snapshot();
    let pid = daemon.start_beside(words);
    let is_found = within(SOON, || found(daemon, &before).contains(expected).then_some(()));
    let what = found(daemon, &before);
    kill9(pid);
    eventually(SOON, "the program's end", || daemon.nursery().ended(pid));
    assert!(is_found.is_some(), "{expected:?} was not found, but: {what:?}");
    eventually(SOON, &format!("no {expected}"), || {
        (!found(daemon, &before).contains(expected)).then_some(())
    });
}

#[test]
fn a_process_that_is_left_is_found_with_all_that_it_holds() {
    let Some(mut daemon) = Daemon::start() else { return };
    check_program(&mut daemon, "process left over: sleep", &["sleep", "600"]);
    let zombie = "sleep 0.2 & exec sleep 600";
    check_program(&mut daemon, "process left over: sleep (zombie)", &["sh", "-c", zombie]);
    let net = ["unshare", "--net", "sleep", "600"];
    check_program(&mut daemon, "held network namespace left over", &net);
    for (kind, option) in [("uts", "--uts"), ("ipc", "--ipc"), ("cgroup", "--cgroup"), ("mnt", "--mount")] {
        let words = ["unshare", option, "sleep", "600"];
        check_program(&mut daemon, &format!("namespace left over: {kind}"), &words);
    }
    for (kind, option) in [("pid", "--pid"), ("time", "--time")] {
        // The next child is the first in it.
        if Path::new("/proc/self/ns").join(kind).exists() {
            let words = ["unshare", option, "--fork", "--kill-child", "sleep", "600"];
            check_program(&mut daemon, &format!("namespace left over: {kind}"), &words);
        }
    }
    let file = daemon.path("left");
    let script = format!("exec 5>{0}; rm {0}; exec sleep 600", file.display());
    check_program(&mut daemon, "deleted file left over", &["sh", "-c", &script]);
}

fn put(path: &Path, text: &str) {
    fs::File::create(path).and_then(|mut file| file.write_all(text.as_bytes())).unwrap();
}

/// A conversation with the keeper that nobody has.
fn converse(daemon: &Daemon) -> OwnedFd {
    let path = KeeperDir::new(daemon.path("state")).socket();
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    connect(socket.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
    socket
}

#[test]
fn descriptors_that_are_left_are_found() {
    let Some(mut daemon) = Daemon::start() else { return };
    let held = RefCell::new(None);
    let open = || drop(held.replace(Some(OwnedFd::from(UnixStream::connect(daemon.socket()).unwrap()))));
    check(&daemon, "descriptor left over: socket", open, || drop(held.take()));
    let open = || drop(held.replace(Some(converse(&daemon))));
    check(&daemon, "descriptor of the keeper left over: socket", open, || drop(held.take()));
    // Nobody can open one in the daemon: another program stands in for it.
    let other = daemon.start_beside(&["sh", "-c", "exec 5</dev/zero; exec sleep 600"]);
    let expected = "descriptor to inherit left over: /dev/zero";
    let look = || Snapshot::take(daemon.places(), daemon.nursery(), Some(other));
    let more = || look().more_than(&Snapshot::default()).unwrap().to_string();
    let is_found = within(SOON, || more().contains(expected).then_some(()));
    kill9(other);
    eventually(SOON, "its end", || daemon.nursery().ended(other));
    assert!(is_found.is_some());
}

#[test]
fn what_is_left_of_a_network_or_of_a_runtime_is_found() {
    let Some(daemon) = Daemon::start() else { return };
    let network = daemon.network();
    let add = |lines: &[&str]| {
        for line in lines {
            network.run(&line.split(' ').collect::<Vec<_>>());
        }
    };
    let delete = || add(&["ip link del left0"]);
    let link =
        ["ip link add left0 type bridge", "ip link set left0 up", "ip addr add 192.0.2.1/24 dev left0"];
    check(&daemon, "address left over: left0", || add(&link), delete);
    let route = || {
        add(&link);
        add(&["ip route add 198.51.100.0/24 via 192.0.2.2"]);
    };
    check(&daemon, "route left over: 198.51.100.0/24", route, delete);
    // In the daemon's network, whose settings are its own.
    let setting = Path::new("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let take = || network.inside(|| Snapshot::take(daemon.places(), daemon.nursery(), None));
    let set = |value: &str| network.inside(|| put(setting, value));
    let (before, own) = (take(), network.inside(|| fs::read_to_string(setting).unwrap()));
    set("77");
    let after = take().more_than(&before).unwrap().to_string();
    set(own.trim());
    assert!(
        after.contains("setting of the host left over: net/ipv4/ip_unprivileged_port_start = 77"),
        "{after}"
    );
    let state = Path::new("/run/runc").join(daemon.instance());
    let leave = || {
        fs::create_dir_all(&state).unwrap();
        put(&state.join("state.json"), &daemon.path("root").to_string_lossy());
    };
    check(&daemon, "stray left over: /run/runc/", leave, || fs::remove_dir_all(&state).unwrap());
}

#[test]
fn what_is_under_way_is_found() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("busy");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    eventually(SOON, "quiet", || daemon.client().shims().ok().filter(|status| status.under_way == 0));
    let asked = RefCell::new(None);
    let leave = || {
        let (client, id) = (daemon.client().clone(), id.clone());
        let call = move || client.exec_sync(ask::exec(&id, &["/demo", "exit", "0", "1500"], 20));
        drop(asked.replace(Some(std::thread::spawn(call))));
    };
    let take_away = || assert_eq!(asked.take().unwrap().join().unwrap().unwrap().exit_code, 0);
    check(&daemon, "under way left over: a procedure or call", leave, take_away);
}
