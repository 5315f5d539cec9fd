//! GetContainerEvents: each change once, in order, and never in the way of an exit.
//!
//! Never: events of another pod.

use cri_api::v1::{self, ContainerEventType as Kind};
use tests::{ask, client::executor, daemon::Daemon, image_file::DEMO, limits::SOON};

#[test]
fn a_pods_life_is_told_in_order() {
    let Some(daemon) = Daemon::start() else { return };
    let mut client = daemon.client().runtime();
    let mut heard = executor()
        .block_on(async { client.get_container_events(v1::GetEventsRequest {}).await })
        .expect("there is a stream")
        .into_inner();
    let pod = daemon.run_pod("told");
    let id = daemon.create(&pod, &ask::container("c", DEMO, &["exit", "4"]));
    daemon.client().start_container(ask::start(&id)).unwrap();
    daemon.exited(&id);
    daemon.client().remove_container(ask::remove(&id)).unwrap();
    daemon.remove_pods();
    let wanted = [
        (&pod.id, Kind::ContainerCreatedEvent),
        (&pod.id, Kind::ContainerStartedEvent),
        (&id, Kind::ContainerCreatedEvent),
        (&id, Kind::ContainerStartedEvent),
        (&id, Kind::ContainerStoppedEvent),
        (&id, Kind::ContainerDeletedEvent),
        (&pod.id, Kind::ContainerStoppedEvent),
        (&pod.id, Kind::ContainerDeletedEvent),
    ];
    let mut last = 0;
    for (id, kind) in wanted {
        let next = executor().block_on(async { tokio::time::timeout(SOON, heard.message()).await });
        let event = next.expect("an event in time").unwrap().expect("the stream goes on");
        assert_eq!((&event.container_id, event.container_event_type()), (id, kind), "{event:?}");
        let metadata = event.pod_sandbox_status.clone().and_then(|status| status.metadata);
        assert_eq!(metadata.map(|metadata| metadata.name).as_deref(), Some("told"), "{event:?}");
        assert!(event.created_at >= last, "{event:?}");
        last = event.created_at;
        if kind == Kind::ContainerStoppedEvent && *id != pod.id {
            let status = event.containers_statuses.first();
            assert!(status.is_none_or(|s| s.exit_code == 4), "told after it can be read: {event:?}");
        }
    }
}
