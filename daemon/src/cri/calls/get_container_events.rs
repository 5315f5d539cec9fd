//! GetContainerEvents: what happens from now on, with how the whole pod stands at each event.
//!
//! Never: in the way of an exit. A client that reads too slowly loses its stream, and asks the lists anew.

use cri_api::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{
    container::Containers,
    cri::convert::{container_status, pod_sandbox_status},
    events::{Ended, Event, Events, Kind},
    sandbox::{Sandboxes, lifecycle::State},
    tasks,
};

/// Answers made ahead for one client: each holds a whole pod.
const AHEAD: usize = 16;

/// The stream of answers.
pub(in crate::cri) type Stream = ReceiverStream<Result<v1::ContainerEventResponse, Status>>;

pub(in crate::cri) fn handle(events: &Events, sandboxes: &Sandboxes, containers: &Containers) -> Stream {
    let (tell, told) = mpsc::channel(AHEAD);
    let mut heard = events.listen();
    let (sandboxes, containers) = (sandboxes.clone(), containers.clone());
    tasks::spawn("container events", async move {
        loop {
            let answer = tokio::select! {
                heard = heard.next() => match heard {
                    Ok(event) => Ok(response(&event, &sandboxes, &containers)),
                    Err(ended @ Ended::Missed(_)) => Err(Status::data_loss(ended.to_string())),
                    Err(ended @ Ended::Over) => Err(Status::unavailable(ended.to_string())),
                },
                () = tell.closed() => return,
            };
            let last = answer.is_err();
            if tell.send(answer).await.is_err() || last {
                return;
            }
        }
    });
    ReceiverStream::new(told)
}

fn response(event: &Event, sandboxes: &Sandboxes, containers: &Containers) -> v1::ContainerEventResponse {
    let kind = match event.kind {
        Kind::Created => v1::ContainerEventType::ContainerCreatedEvent,
        Kind::Started => v1::ContainerEventType::ContainerStartedEvent,
        Kind::Stopped => v1::ContainerEventType::ContainerStoppedEvent,
        Kind::Deleted => v1::ContainerEventType::ContainerDeletedEvent,
    };
    let there = sandboxes.find(&event.sandbox_id).ok().flatten();
    let addresses = sandboxes.networks().of(&event.sandbox_id);
    let status = match (&there, &event.sandbox) {
        (Some(sandbox), _) => Some(pod_sandbox_status(&sandbox.facts, sandbox.state(), &addresses)),
        // Gone meanwhile, or with this event.
        (None, Some(facts)) => Some(pod_sandbox_status(facts, State::NotReady, &[])),
        (None, None) => None,
    };
    let mine = containers.of_sandbox(&event.sandbox_id);
    let mut views: Vec<_> = mine.iter().map(|container| (container, container.view())).collect();
    views.retain(|(_, view)| view.visible);
    v1::ContainerEventResponse {
        container_id: event.id.clone(),
        container_event_type: kind as i32,
        created_at: event.at,
        pod_sandbox_status: status,
        containers_statuses: views
            .iter()
            .map(|(container, view)| container_status(container, view))
            .collect(),
    }
}
