//! Each lie is found: a model that never says no proves nothing.

use std::collections::BTreeSet;

use cri_api::v1::{self, ContainerState, PodSandboxState};
use tonic::Status;

use super::{super::plan::Plan, Truth};

fn status(id: &str, state: ContainerState, code: i32) -> v1::ContainerStatus {
    v1::ContainerStatus {
        id: id.to_owned(),
        state: state as i32,
        exit_code: code,
        started_at: 5,
        ..v1::ContainerStatus::default()
    }
}

fn container(id: &str, state: ContainerState) -> v1::Container {
    let metadata = Some(v1::ContainerMetadata { name: "c".into(), attempt: 0 });
    v1::Container { id: id.to_owned(), metadata, state: state as i32, ..v1::Container::default() }
}

/// What is found when this is told to a model with a container `a` that runs until it is asked.
fn found(tell: impl Fn(&Truth)) -> String {
    let truth = Truth::default();
    truth.created("a", Plan::Trap(7));
    truth.see(&status("a", ContainerState::ContainerRunning, 0));
    tell(&truth);
    truth.verdict().0.join("\n")
}

#[test]
fn what_is_lawful_is_no_violation() {
    let text = found(|truth| {
        truth.see_containers(&[container("a", ContainerState::ContainerRunning)], &BTreeSet::new());
        truth.told("a");
        truth.idempotent("stop_container", "a", None);
        truth.idempotent("stop_container", "a", Some(&Status::internal("busy")));
        truth.see(&status("a", ContainerState::ContainerExited, 7));
        truth.failed("create_container", &Status::internal("no such image"));
    });
    assert_eq!(text, "");
}

#[test]
fn each_lie_is_found() {
    let exited = |code| status("a", ContainerState::ContainerExited, code);
    assert!(found(|t| t.see(&exited(7))).contains("ended with 7"), "nobody asked for its end");
    let wrong = found(|t| {
        t.told("a");
        t.see(&exited(1));
    });
    assert!(wrong.contains("ended with 1"), "{wrong}");
    let lost =
        found(|t| t.see(&v1::ContainerStatus { message: "its shim was killed".into(), ..exited(255) }));
    assert!(lost.contains("1 containers were lost, but only 0"), "{lost}");
    let again = found(|t| {
        let other = v1::ContainerStatus { started_at: 6, ..status("a", ContainerState::ContainerRunning, 0) };
        t.see(&other);
    });
    assert!(again.contains("started again"), "{again}");
    let twice =
        [container("a", ContainerState::ContainerRunning), container("b", ContainerState::ContainerCreated)];
    assert!(found(|t| t.see_containers(&twice, &BTreeSet::new())).contains("two live containers"));
    assert!(found(|t| t.see_containers(&twice[..1], &["a".to_owned()].into())).contains("after its removal"));
    let reserved = Status::unknown("name c is reserved for b");
    assert!(found(|t| t.failed("create_container", &reserved)).contains("reserved"));
    let failed = found(|t| {
        t.idempotent("stop_container", "a", None);
        t.idempotent("stop_container", "a", Some(&Status::internal("x")));
        t.idempotent("stop_container", "a", Some(&Status::internal("x")));
    });
    assert!(failed.contains("failed twice"), "{failed}");
    let unready = found(|t| {
        for state in [PodSandboxState::SandboxReady, PodSandboxState::SandboxNotready] {
            let sandbox = v1::PodSandbox { id: "s".into(), state: state as i32, ..v1::PodSandbox::default() };
            t.see_sandboxes(&[sandbox], &BTreeSet::new());
        }
    });
    assert!(unready.contains("nobody stopped it"), "{unready}");
}
