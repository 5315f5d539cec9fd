//! A CRI client as the kubelet is one: gRPC over the unix socket, authority `localhost`, answers up to 16 MiB.
//!
//! Its calls block, so that a test reads from top to bottom; clones may be used from several threads. Owns: the
//! connection. Never: retries.

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use cri_api::{
    control::{self, control_client::ControlClient},
    v1::{self, image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient},
};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, runtime::Runtime};
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};

use crate::limits::{CALL, MESSAGE_MAX};

/// The executor of all clients of this test program.
pub fn executor() -> &'static Runtime {
    static EXECUTOR: OnceLock<Runtime> = OnceLock::new();
    EXECUTOR.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("an executor can be built")
    })
}

/// A client of one socket. Connects when it is first used, and again after a loss.
#[derive(Debug, Clone)]
pub struct CriClient {
    channel: Channel,
    deadline: Option<Duration>,
}

macro_rules! calls {
    ($client:ident: $($name:ident($request:ident) -> $answer:ident;)*) => {
        $(
            #[doc = concat!("The call `", stringify!($name), "`.")]
            pub fn $name(&self, request: v1::$request) -> Result<v1::$answer, Status> {
                let mut client = $client::new(self.channel.clone()).max_decoding_message_size(MESSAGE_MAX);
                let request = self.asked(request);
                self.wait(async move { client.$name(request).await })
            }
        )*
    };
}

impl CriClient {
    /// A client of the socket at this path.
    pub fn new(socket: &Path) -> Self {
        Self::with_deadline(socket, CALL)
    }

    /// The same, that gives each call up after this time, as a caller that is gone.
    pub fn with_deadline(socket: &Path, deadline: Duration) -> Self {
        let _inside = executor().enter();
        let path: PathBuf = socket.to_owned();
        let connect = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost").timeout(deadline);
        Self { channel: endpoint.connect_with_connector_lazy(connect), deadline: None }
    }

    /// The same, but each call tells the daemon a deadline.
    #[must_use]
    pub fn within(&self, deadline: Duration) -> Self {
        Self { channel: self.channel.clone(), deadline: Some(deadline) }
    }

    fn asked<T>(&self, request: T) -> Request<T> {
        let mut request = Request::new(request);
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline);
        }
        request
    }

    fn wait<T>(&self, call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Status> {
        executor().block_on(call).map(tonic::Response::into_inner)
    }

    /// Who serves, and the shim of every container.
    pub fn shims(&self) -> Result<control::StatusResponse, Status> {
        let mut client = ControlClient::new(self.channel.clone());
        self.wait(async move { client.status(control::StatusRequest {}).await })
    }

    /// The client for calls that this one has no word for; use it with [`executor`].
    pub fn runtime(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_MAX)
    }

    /// The same for images.
    pub fn images(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_MAX)
    }

    calls! { RuntimeServiceClient:
        version(VersionRequest) -> VersionResponse;
        run_pod_sandbox(RunPodSandboxRequest) -> RunPodSandboxResponse;
        stop_pod_sandbox(StopPodSandboxRequest) -> StopPodSandboxResponse;
        remove_pod_sandbox(RemovePodSandboxRequest) -> RemovePodSandboxResponse;
        pod_sandbox_status(PodSandboxStatusRequest) -> PodSandboxStatusResponse;
        list_pod_sandbox(ListPodSandboxRequest) -> ListPodSandboxResponse;
        create_container(CreateContainerRequest) -> CreateContainerResponse;
        start_container(StartContainerRequest) -> StartContainerResponse;
        stop_container(StopContainerRequest) -> StopContainerResponse;
        remove_container(RemoveContainerRequest) -> RemoveContainerResponse;
        list_containers(ListContainersRequest) -> ListContainersResponse;
        container_status(ContainerStatusRequest) -> ContainerStatusResponse;
        update_container_resources(UpdateContainerResourcesRequest) -> UpdateContainerResourcesResponse;
        reopen_container_log(ReopenContainerLogRequest) -> ReopenContainerLogResponse;
        exec_sync(ExecSyncRequest) -> ExecSyncResponse;
        exec(ExecRequest) -> ExecResponse;
        attach(AttachRequest) -> AttachResponse;
        port_forward(PortForwardRequest) -> PortForwardResponse;
        container_stats(ContainerStatsRequest) -> ContainerStatsResponse;
        list_container_stats(ListContainerStatsRequest) -> ListContainerStatsResponse;
        pod_sandbox_stats(PodSandboxStatsRequest) -> PodSandboxStatsResponse;
        list_pod_sandbox_stats(ListPodSandboxStatsRequest) -> ListPodSandboxStatsResponse;
        update_runtime_config(UpdateRuntimeConfigRequest) -> UpdateRuntimeConfigResponse;
        status(StatusRequest) -> StatusResponse;
        checkpoint_container(CheckpointContainerRequest) -> CheckpointContainerResponse;
        list_metric_descriptors(ListMetricDescriptorsRequest) -> ListMetricDescriptorsResponse;
        list_pod_sandbox_metrics(ListPodSandboxMetricsRequest) -> ListPodSandboxMetricsResponse;
        runtime_config(RuntimeConfigRequest) -> RuntimeConfigResponse;
        update_pod_sandbox_resources(UpdatePodSandboxResourcesRequest) -> UpdatePodSandboxResourcesResponse;
    }

    calls! { ImageServiceClient:
        list_images(ListImagesRequest) -> ListImagesResponse;
        image_status(ImageStatusRequest) -> ImageStatusResponse;
        pull_image(PullImageRequest) -> PullImageResponse;
        remove_image(RemoveImageRequest) -> RemoveImageResponse;
        image_fs_info(ImageFsInfoRequest) -> ImageFsInfoResponse;
    }
}
