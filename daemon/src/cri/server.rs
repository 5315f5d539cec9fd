//! The gRPC server on its unix socket.
//!
//! Owns: the server's bounds. Never: the socket's file; `cli::serve` makes it.

use cri_api::{control::control_server::ControlServer, v1};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use super::{ControlService, ImageService, RuntimeService};
use crate::limits::GRPC_MESSAGE_MAX;

/// The three services.
#[derive(Debug, Clone)]
pub struct Services {
    /// The CRI's sandboxes and containers.
    pub runtime: RuntimeService,
    /// The CRI's images.
    pub image: ImageService,
    /// Our own.
    pub control: ControlService,
}

/// Serves until the signal comes; then lets calls in flight end.
pub async fn serve(
    listener: UnixListener,
    services: Services,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let runtime = v1::runtime_service_server::RuntimeServiceServer::new(services.runtime)
        .max_decoding_message_size(GRPC_MESSAGE_MAX)
        .max_encoding_message_size(GRPC_MESSAGE_MAX);
    let image = v1::image_service_server::ImageServiceServer::new(services.image)
        .max_decoding_message_size(GRPC_MESSAGE_MAX)
        .max_encoding_message_size(GRPC_MESSAGE_MAX);
    Server::builder()
        .add_service(runtime)
        .add_service(image)
        .add_service(ControlServer::new(services.control))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop)
        .await
}
