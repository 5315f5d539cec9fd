//! The routing table of the CRI's RuntimeService: one line a call, showing what it may touch.
//!
//! Never: a body; those are in `calls`.

use std::sync::Arc;

use cri_api::v1;
use tonic::{Request, Response, Status};

use super::{bounded::Call, calls, control_service::Identity};
use crate::{
    container::Containers,
    events::Events,
    image::Images,
    oci::Handlers,
    operations::{About, Operations},
    sandbox::Sandboxes,
    stats::Stats,
};

/// Sandboxes and containers.
#[derive(Debug, Clone)]
pub struct RuntimeService {
    /// Who this daemon is.
    pub identity: Identity,
    /// The runtimes.
    pub handlers: Handlers,
    /// The sandboxes.
    pub sandboxes: Sandboxes,
    /// The images.
    pub images: Arc<Images>,
    /// The containers.
    pub containers: Containers,
    /// What they use.
    pub stats: Stats,
    /// What happens to them.
    pub events: Events,
}

impl RuntimeService {
    fn operations(&self) -> &Operations {
        &self.containers.parts().operations
    }
}

/// A pod that may have no id yet.
fn about_pod(config: Option<&v1::PodSandboxConfig>) -> About {
    let metadata = config.and_then(|config| config.metadata.as_ref());
    metadata.map_or(About::Nothing, |metadata| About::pod(&metadata.namespace, &metadata.name))
}

/// A container that may have no id yet.
fn about_new(request: &v1::CreateContainerRequest) -> About {
    let metadata = request.config.as_ref().and_then(|config| config.metadata.as_ref());
    let name = metadata.map_or("", |metadata| &metadata.name);
    About::In(request.pod_sandbox_id.clone(), name.to_owned())
}

/// The stream of a call that is not implemented: there is none.
type Never<T> = tokio_stream::Empty<Result<T, Status>>;

#[tonic::async_trait]
impl v1::runtime_service_server::RuntimeService for RuntimeService {
    async fn version(&self, _: Request<v1::VersionRequest>) -> Result<Response<v1::VersionResponse>, Status> {
        Ok(Response::new(calls::version::handle()))
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<v1::RunPodSandboxRequest>,
    ) -> Result<Response<v1::RunPodSandboxResponse>, Status> {
        let call =
            Call::new("RunPodSandbox", about_pod(request.get_ref().config.as_ref()), request.metadata());
        let work = calls::run_pod_sandbox::handle(&self.sandboxes, &self.containers, request.into_inner());
        call.run(self.operations(), work).await
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<v1::StopPodSandboxRequest>,
    ) -> Result<Response<v1::StopPodSandboxResponse>, Status> {
        let call = Call::new(
            "StopPodSandbox",
            About::Id(request.get_ref().pod_sandbox_id.clone()),
            request.metadata(),
        );
        let work = calls::stop_pod_sandbox::handle(&self.sandboxes, &self.containers, request.into_inner());
        call.run(self.operations(), work).await
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<v1::RemovePodSandboxRequest>,
    ) -> Result<Response<v1::RemovePodSandboxResponse>, Status> {
        let call = Call::new(
            "RemovePodSandbox",
            About::Id(request.get_ref().pod_sandbox_id.clone()),
            request.metadata(),
        );
        let work = calls::remove_pod_sandbox::handle(
            &self.sandboxes,
            &self.containers,
            &self.images,
            request.into_inner(),
        );
        call.run(self.operations(), work).await
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<v1::PodSandboxStatusRequest>,
    ) -> Result<Response<v1::PodSandboxStatusResponse>, Status> {
        calls::pod_sandbox_status::handle(
            &self.sandboxes,
            &self.containers.parts().layout,
            request.into_inner(),
        )
        .map(Response::new)
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<v1::ListPodSandboxRequest>,
    ) -> Result<Response<v1::ListPodSandboxResponse>, Status> {
        calls::list_pod_sandbox::handle(&self.sandboxes, request.into_inner()).map(Response::new)
    }

    type StreamPodSandboxesStream = Never<v1::StreamPodSandboxesResponse>;

    async fn stream_pod_sandboxes(
        &self,
        _: Request<v1::StreamPodSandboxesRequest>,
    ) -> Result<Response<Self::StreamPodSandboxesStream>, Status> {
        Err(calls::stream_pod_sandboxes::handle())
    }

    async fn create_container(
        &self,
        request: Request<v1::CreateContainerRequest>,
    ) -> Result<Response<v1::CreateContainerResponse>, Status> {
        let call = Call::new("CreateContainer", about_new(request.get_ref()), request.metadata());
        let work = calls::create_container::handle(
            &self.sandboxes,
            &self.images,
            &self.containers,
            request.into_inner(),
        );
        call.run(self.operations(), work).await
    }

    async fn start_container(
        &self,
        request: Request<v1::StartContainerRequest>,
    ) -> Result<Response<v1::StartContainerResponse>, Status> {
        let call = Call::new(
            "StartContainer",
            About::Id(request.get_ref().container_id.clone()),
            request.metadata(),
        );
        let work = calls::start_container::handle(&self.containers, request.into_inner());
        call.run(self.operations(), work).await
    }

    async fn stop_container(
        &self,
        request: Request<v1::StopContainerRequest>,
    ) -> Result<Response<v1::StopContainerResponse>, Status> {
        let call =
            Call::new("StopContainer", About::Id(request.get_ref().container_id.clone()), request.metadata())
                .allow(request.get_ref().timeout);
        let work = calls::stop_container::handle(&self.containers, request.into_inner());
        call.run(self.operations(), work).await
    }

    async fn remove_container(
        &self,
        request: Request<v1::RemoveContainerRequest>,
    ) -> Result<Response<v1::RemoveContainerResponse>, Status> {
        let call = Call::new(
            "RemoveContainer",
            About::Id(request.get_ref().container_id.clone()),
            request.metadata(),
        );
        let work = calls::remove_container::handle(&self.containers, &self.images, request.into_inner());
        call.run(self.operations(), work).await
    }

    async fn list_containers(
        &self,
        request: Request<v1::ListContainersRequest>,
    ) -> Result<Response<v1::ListContainersResponse>, Status> {
        calls::list_containers::handle(&self.containers, request.into_inner()).map(Response::new)
    }

    type StreamContainersStream = Never<v1::StreamContainersResponse>;

    async fn stream_containers(
        &self,
        _: Request<v1::StreamContainersRequest>,
    ) -> Result<Response<Self::StreamContainersStream>, Status> {
        Err(calls::stream_containers::handle())
    }

    async fn container_status(
        &self,
        request: Request<v1::ContainerStatusRequest>,
    ) -> Result<Response<v1::ContainerStatusResponse>, Status> {
        calls::container_status::handle(&self.containers, request.into_inner()).await.map(Response::new)
    }

    async fn update_container_resources(
        &self,
        request: Request<v1::UpdateContainerResourcesRequest>,
    ) -> Result<Response<v1::UpdateContainerResourcesResponse>, Status> {
        let call = Call::new(
            "UpdateContainerResources",
            About::Id(request.get_ref().container_id.clone()),
            request.metadata(),
        );
        let work = calls::update_container_resources::handle(&self.containers, request.into_inner());
        call.run(self.operations(), work).await
    }

    async fn reopen_container_log(
        &self,
        request: Request<v1::ReopenContainerLogRequest>,
    ) -> Result<Response<v1::ReopenContainerLogResponse>, Status> {
        let call = Call::new(
            "ReopenContainerLog",
            About::Id(request.get_ref().container_id.clone()),
            request.metadata(),
        );
        let work = calls::reopen_container_log::handle(&self.containers, request.into_inner());
        call.run(self.operations(), work).await
    }

    async fn exec_sync(
        &self,
        request: Request<v1::ExecSyncRequest>,
    ) -> Result<Response<v1::ExecSyncResponse>, Status> {
        let call =
            Call::new("ExecSync", About::Id(request.get_ref().container_id.clone()), request.metadata())
                .allow(request.get_ref().timeout);
        let work = calls::exec_sync::handle(&self.containers, request.into_inner());
        call.run(self.operations(), work).await
    }

    async fn exec(&self, _: Request<v1::ExecRequest>) -> Result<Response<v1::ExecResponse>, Status> {
        Err(calls::exec::handle())
    }

    async fn attach(&self, _: Request<v1::AttachRequest>) -> Result<Response<v1::AttachResponse>, Status> {
        Err(calls::attach::handle())
    }

    async fn port_forward(
        &self,
        _: Request<v1::PortForwardRequest>,
    ) -> Result<Response<v1::PortForwardResponse>, Status> {
        Err(calls::port_forward::handle())
    }

    async fn container_stats(
        &self,
        request: Request<v1::ContainerStatsRequest>,
    ) -> Result<Response<v1::ContainerStatsResponse>, Status> {
        let call = Call::new(
            "ContainerStats",
            About::Id(request.get_ref().container_id.clone()),
            request.metadata(),
        );
        let work = calls::container_stats::handle(&self.containers, &self.stats, request.into_inner());
        call.run(self.operations(), work).await
    }

    async fn list_container_stats(
        &self,
        request: Request<v1::ListContainerStatsRequest>,
    ) -> Result<Response<v1::ListContainerStatsResponse>, Status> {
        let call = Call::new("ListContainerStats", About::Nothing, request.metadata());
        let work = calls::list_container_stats::handle(&self.containers, &self.stats, request.into_inner());
        call.run(self.operations(), work).await
    }

    type StreamContainerStatsStream = Never<v1::StreamContainerStatsResponse>;

    async fn stream_container_stats(
        &self,
        _: Request<v1::StreamContainerStatsRequest>,
    ) -> Result<Response<Self::StreamContainerStatsStream>, Status> {
        Err(calls::stream_container_stats::handle())
    }

    async fn pod_sandbox_stats(
        &self,
        request: Request<v1::PodSandboxStatsRequest>,
    ) -> Result<Response<v1::PodSandboxStatsResponse>, Status> {
        let call = Call::new(
            "PodSandboxStats",
            About::Id(request.get_ref().pod_sandbox_id.clone()),
            request.metadata(),
        );
        let (sandboxes, containers) = (&self.sandboxes, &self.containers);
        let work = calls::pod_sandbox_stats::handle(sandboxes, containers, &self.stats, request.into_inner());
        call.run(self.operations(), work).await
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<v1::ListPodSandboxStatsRequest>,
    ) -> Result<Response<v1::ListPodSandboxStatsResponse>, Status> {
        let call = Call::new("ListPodSandboxStats", About::Nothing, request.metadata());
        let (sandboxes, containers) = (&self.sandboxes, &self.containers);
        let work =
            calls::list_pod_sandbox_stats::handle(sandboxes, containers, &self.stats, request.into_inner());
        call.run(self.operations(), work).await
    }

    type StreamPodSandboxStatsStream = Never<v1::StreamPodSandboxStatsResponse>;

    async fn stream_pod_sandbox_stats(
        &self,
        _: Request<v1::StreamPodSandboxStatsRequest>,
    ) -> Result<Response<Self::StreamPodSandboxStatsStream>, Status> {
        Err(calls::stream_pod_sandbox_stats::handle())
    }

    async fn update_runtime_config(
        &self,
        request: Request<v1::UpdateRuntimeConfigRequest>,
    ) -> Result<Response<v1::UpdateRuntimeConfigResponse>, Status> {
        calls::update_runtime_config::handle(self.sandboxes.networks(), request.into_inner())
            .await
            .map(Response::new)
    }

    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let networks = self.sandboxes.networks();
        let features = &self.containers.parts().features;
        let answer =
            calls::status::handle(&self.identity, &self.handlers, features, networks, request.into_inner());
        Ok(Response::new(answer.await))
    }

    async fn checkpoint_container(
        &self,
        _: Request<v1::CheckpointContainerRequest>,
    ) -> Result<Response<v1::CheckpointContainerResponse>, Status> {
        Err(calls::checkpoint_container::handle())
    }

    type GetContainerEventsStream = calls::get_container_events::Stream;

    async fn get_container_events(
        &self,
        _: Request<v1::GetEventsRequest>,
    ) -> Result<Response<Self::GetContainerEventsStream>, Status> {
        let (sandboxes, containers) = (&self.sandboxes, &self.containers);
        let events = calls::get_container_events::handle(&self.events, sandboxes, containers);
        Ok(Response::new(events))
    }

    async fn list_metric_descriptors(
        &self,
        _: Request<v1::ListMetricDescriptorsRequest>,
    ) -> Result<Response<v1::ListMetricDescriptorsResponse>, Status> {
        Err(calls::list_metric_descriptors::handle())
    }

    async fn list_pod_sandbox_metrics(
        &self,
        _: Request<v1::ListPodSandboxMetricsRequest>,
    ) -> Result<Response<v1::ListPodSandboxMetricsResponse>, Status> {
        Err(calls::list_pod_sandbox_metrics::handle())
    }

    type StreamPodSandboxMetricsStream = Never<v1::StreamPodSandboxMetricsResponse>;

    async fn stream_pod_sandbox_metrics(
        &self,
        _: Request<v1::StreamPodSandboxMetricsRequest>,
    ) -> Result<Response<Self::StreamPodSandboxMetricsStream>, Status> {
        Err(calls::stream_pod_sandbox_metrics::handle())
    }

    async fn runtime_config(
        &self,
        _: Request<v1::RuntimeConfigRequest>,
    ) -> Result<Response<v1::RuntimeConfigResponse>, Status> {
        Ok(Response::new(calls::runtime_config::handle(&self.containers.parts().cgroups)))
    }

    async fn update_pod_sandbox_resources(
        &self,
        _: Request<v1::UpdatePodSandboxResourcesRequest>,
    ) -> Result<Response<v1::UpdatePodSandboxResourcesResponse>, Status> {
        Err(calls::update_pod_sandbox_resources::handle())
    }
}
