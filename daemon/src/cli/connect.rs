//! Reaching a daemon by its socket.
//!
//! Never: starts one.

use std::path::PathBuf;

use cri_api::{
    control::control_client::ControlClient,
    v1::{image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient},
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::{args::Client, exit::Failure};
use crate::limits::GRPC_MESSAGE_MAX;

const DEFAULT_SOCKET: &str = "/run/taffrail/taffrail.sock";

/// A connection to a daemon.
#[derive(Debug, Clone)]
pub(super) struct Connection(Channel);

impl Connection {
    /// The socket that a client's arguments and environment name.
    pub(super) fn socket(client: &Client) -> PathBuf {
        client
            .socket
            .clone()
            .or_else(|| std::env::var_os("TAFFRAIL_SOCKET").map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET))
    }

    /// Connects, or says that there is no daemon.
    pub(super) async fn open(socket: PathBuf) -> Result<Self, Failure> {
        let shown = socket.clone();
        let connect = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // The name is what every CRI client sends; nothing resolves it.
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(connect).await;
        channel.map(Self).map_err(|e| {
            let cause = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
            let path = shown.display();
            Failure::unreachable(format!("no daemon answers at {path} ({cause}); start one: taffrail serve"))
        })
    }

    pub(super) fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.0.clone())
    }

    pub(super) fn runtime(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.0.clone()).max_decoding_message_size(GRPC_MESSAGE_MAX)
    }

    pub(super) fn images(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.0.clone()).max_decoding_message_size(GRPC_MESSAGE_MAX)
    }
}

/// Runs a client command's async part.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build();
    executor.map_err(Failure::failed)?.block_on(work)
}
