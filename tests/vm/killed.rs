//! SIGKILL to everything of ours in turn, while containers run.
//!
//! Never: a death that nobody waits for; each is seen in the process table.

use cri_api::v1::ContainerState;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tests::{ask, eventually::eventually, image_file::DEMO, limits::SOON, nursery};

use super::{
    node::{Node, cgroup_of},
    unit::{SHIMS, goes_on, is_whole, writer},
};

fn kill9(pid: u32) {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).expect("it can be killed");
    eventually(SOON, "its end", || nursery::process(pid).is_none_or(|p| p.state == 'Z').then_some(()));
}

#[test]
fn the_daemon_is_killed_and_systemd_starts_another() {
    let node = Node::start(&[]);
    let (pod, id) = writer(&node);
    let before = node.processes(&id);
    for _ in 0..3 {
        goes_on(&pod);
        let old = node.daemon().unwrap();
        kill9(old);
        goes_on(&pod);
        node.serves_again(old);
        assert_eq!(node.processes(&id), before);
        assert_eq!(node.status(&id).state(), ContainerState::ContainerRunning);
    }
    node.client().stop_container(ask::stop(&id, 5)).unwrap();
    is_whole(&pod);
}

#[test]
fn a_shim_is_killed_and_another_takes_its_place() {
    let node = Node::start(&[]);
    let (pod, id) = writer(&node);
    for _ in 0..3 {
        goes_on(&pod);
        let (old, first) = node.processes(&id);
        kill9(old);
        let new = eventually(SOON, "another shim", || {
            let (new, same) = node.processes(&id);
            assert_eq!(same, first, "the container is another one");
            (new != old && new != 0).then_some(new)
        });
        assert!(cgroup_of(new).ends_with(SHIMS), "it is in {}", cgroup_of(new));
        goes_on(&pod);
        assert_eq!(node.status(&id).state(), ContainerState::ContainerRunning);
    }
    node.client().stop_container(ask::stop(&id, 5)).unwrap();
    is_whole(&pod);
}

#[test]
fn the_keeper_is_killed_and_its_scope_lives_on() {
    let node = Node::start(&[]);
    let (pod, id) = writer(&node);
    let (shim, first) = node.processes(&id);
    for _ in 0..2 {
        let old = node.keeper();
        assert!(cgroup_of(old).ends_with(SHIMS), "the keeper is in {}", cgroup_of(old));
        kill9(old);
        eventually(SOON, "another keeper that has all", || {
            let status = node.client().shims().unwrap();
            (status.keeper_pid != old && status.keeper_pid != 0 && status.kept == 1).then_some(())
        });
        goes_on(&pod);
        assert_eq!(node.processes(&id), (shim, first));
    }
    // The next one serves: the shim is killed, and the container does not notice.
    kill9(shim);
    eventually(SOON, "another shim", || (![0, shim].contains(&node.processes(&id).0)).then_some(()));
    goes_on(&pod);
    node.client().stop_container(ask::stop(&id, 5)).unwrap();
    is_whole(&pod);
}

#[test]
fn keeper_and_shim_are_killed_and_nothing_runs_on_unsupervised() {
    let node = Node::start(&[]);
    let (_, id) = writer(&node);
    let (shim, first) = node.processes(&id);
    let keeper = node.keeper();
    for pid in [keeper, shim] {
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).expect("it can be killed");
    }
    let status = node.exited(&id);
    assert_ne!(status.exit_code, 0, "{status:?}");
    assert_ne!(status.reason, "Completed", "{status:?}");
    eventually(SOON, "the end of what it supervised", || {
        nursery::process(first).is_none_or(|p| p.state == 'Z').then_some(())
    });
    // And work goes on with others.
    let pod = node.run_pod("after", "");
    let id = node.start_container(&pod, &ask::container("c", DEMO, &["exit", "7"]));
    assert_eq!(node.exited(&id).exit_code, 7);
}
