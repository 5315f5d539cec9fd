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
    node::Node,
    unit::{goes_on, is_whole, writer},
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
fn a_shim_is_killed_and_the_others_do_not_notice() {
    let node = Node::start(&[]);
    let (pod, id) = writer(&node);
    let other = node.start_container(&pod, &ask::container("other", DEMO, &["sleep", "600"]));
    goes_on(&pod);
    let (shim, first) = node.processes(&other);
    kill9(shim);
    let status = node.exited(&other);
    assert_eq!(status.exit_code, 255, "never 0: {status:?}");
    eventually(SOON, "the end of what it supervised", || {
        nursery::process(first).is_none_or(|p| p.state == 'Z').then_some(())
    });
    goes_on(&pod);
    assert_eq!(node.status(&id).state(), ContainerState::ContainerRunning);
}
