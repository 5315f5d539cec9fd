//! Each lie is found: a model that never says no proves nothing.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use cri_api::v1::{self, ContainerState, PodSandboxState};
use tonic::Status;

use super::{super::plan::Plan, ShimDeath, Truth};

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
    assert!(lost.contains("lost, though"), "{lost}");
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

/// What is said of a container that is lost, when its shim (`None`: somebody's) and the keeper died at these seconds.
fn lost(shim: Option<(Option<&str>, bool, u64)>, keeper: Option<(u64, u64)>) -> String {
    let begin = Instant::now();
    let at = |seconds| begin + Duration::from_secs(seconds);
    found(|truth| {
        truth.deaths(|deaths| {
            if let Some((from, to)) = keeper {
                deaths.keeper_from(at(from));
                deaths.keeper_again(at(to));
            }
            if let Some((whose, kept, when)) = shim {
                let container = whose.map(str::to_owned);
                deaths.shim(ShimDeath { container, kept, from: at(when), to: at(when) });
            }
        });
        truth.see(&v1::ContainerStatus {
            message: "its shim was killed".into(),
            ..status("a", ContainerState::ContainerExited, 255)
        });
    })
}

#[test]
fn only_a_death_of_both_loses_a_container() {
    assert!(lost(None, Some((10, 20))).contains("lost, though"), "no shim died");
    assert!(lost(Some((Some("a"), true, 15)), None).contains("lost, though"), "no keeper died");
    assert!(lost(Some((Some("a"), true, 30)), Some((10, 20))).contains("lost, though"), "long after it");
    assert!(lost(Some((Some("a"), true, 5)), Some((10, 20))).contains("lost, though"), "long before it");
    assert!(lost(Some((Some("b"), true, 15)), Some((10, 20))).contains("lost, though"), "another's shim");
    assert_eq!(lost(Some((Some("a"), true, 15)), Some((10, 20))), "");
    assert_eq!(lost(Some((Some("a"), true, 9)), Some((10, 20))), "");
    assert_eq!(lost(Some((None, true, 15)), Some((10, 20))), "");
    assert_eq!(lost(Some((Some("a"), false, 30)), None), "", "nobody kept it");
}
