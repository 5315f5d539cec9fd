//! The table: who is in it, whose step a call waits for, what is kept.

use std::time::Duration;

use super::{About, Operations, enter, waiting};
use crate::limits::{PAST_GONE, PAST_PER_OBJECT};

fn table() -> Operations {
    let operations = Operations::default();
    operations.introduce_pod("p1", "ns", "web");
    operations.introduce_container("c1", "app", "p1");
    operations
}

#[tokio::test]
async fn a_call_names_its_own_step() {
    let operations = table();
    let work = async {
        let _place = enter("log.reopen");
        std::future::pending::<()>().await;
    };
    let bounds = (Duration::from_millis(20), Duration::ZERO);
    let sentence =
        operations.call("ReopenContainerLog", About::Id("c1".into()), bounds, work).await.unwrap_err();
    let place = "ReopenContainerLog was still in step log.reopen (container app of pod ns/web) after 0 s";
    assert!(sentence.starts_with(place), "{sentence}");
}

#[tokio::test]
async fn a_call_names_the_step_of_the_procedure_it_waits_for() {
    let operations = table();
    let procedure = operations.run("c1", "start", async {
        let _place = enter("runtime.create");
        std::future::pending::<()>().await;
    });
    tokio::pin!(procedure);
    let bounds = (Duration::from_millis(20), Duration::ZERO);
    for about in [About::Id("c".into()), About::Id("p1".into()), About::In("p1".into(), "app".into())] {
        let call = operations.call("StopContainer", about, bounds, std::future::pending::<()>());
        let waits = async { call.await.unwrap_err() };
        let sentence = tokio::select! {
            sentence = waits => sentence,
            () = &mut procedure => unreachable!("it never ends"),
        };
        assert_eq!(
            sentence,
            "StopContainer was still in step runtime.create (container app of pod ns/web) after 0 s; it waits for \
             the shim, which runs the runtime's create"
        );
    }
}

#[tokio::test]
async fn what_has_ended_is_kept_and_what_was_dropped_is_out() {
    let operations = table();
    operations
        .run("c1", "create", async {
            let _place = enter("container.facts");
            let _waiting = waiting(|| "the disk".to_owned());
            assert_eq!(operations.of("c1")[0].waits, "the disk");
        })
        .await;
    let past = operations.object("c1").unwrap().past;
    let seen: Vec<_> = past.entries.iter().map(|e| (e.operation, e.step.as_str())).collect();
    assert_eq!(seen, [("create", "container.facts"), ("create", "")]);
    drop(operations.run("c1", "kill", std::future::pending::<()>()));
    assert!(operations.of("p1").is_empty());
}

#[test]
fn the_memory_is_bounded() {
    let operations = table();
    for number in 0..PAST_PER_OBJECT + 3 {
        operations.note("c1", format!("{number}"));
    }
    let past = operations.object("c1").unwrap().past;
    assert_eq!((past.entries.len(), past.forgotten), (PAST_PER_OBJECT, 3));
    for number in 0..=PAST_GONE {
        operations.introduce_container(&format!("gone{number}"), "x", "p1");
        operations.forget(&format!("gone{number}"));
    }
    assert!(operations.object("gone0").is_none() && operations.object("gone1").is_some());
    let (id, object) = operations.objects().into_iter().find(|(id, _)| id == "c1").unwrap();
    for called in ["c1", "app", "web/app", "ns/web/app"] {
        assert!(object.is_called(&id, called), "{called}");
    }
    assert!(!object.is_called(&id, "ns/web"));
}
