//! The page that quickstart fetches from its pod.
//!
//! Never: a client for anything else.

use std::time::Duration;

use cri_api::v1;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::super::{connect::Connection, exit::Failure};

/// Where the pod serves it.
pub(super) const PORT: &str = "8080";

/// What stands on it, before the address of who asked.
pub(super) const TEXT: &str = "hello from a pod";

/// How long the server may take to be there.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two tries.
const LOOK: Duration = Duration::from_millis(10);

/// Longest page that is read, in bytes.
const PAGE_MAX: u64 = 64 << 10;

/// The pod's address, as the kubelet is told it.
pub(super) async fn address(connection: &Connection, sandbox: &str) -> Result<String, Failure> {
    let request = v1::PodSandboxStatusRequest { pod_sandbox_id: sandbox.into(), verbose: false };
    let status = connection.runtime().pod_sandbox_status(request).await?.into_inner().status;
    let address = status.and_then(|status| status.network).unwrap_or_default().ip;
    if address.is_empty() {
        return Err(Failure::failed("the pod has no address"));
    }
    Ok(address)
}

/// Fetches it, once it is served.
pub(super) async fn fetch(address: &str) -> Result<String, Failure> {
    let tries = async {
        loop {
            match page(address).await {
                Ok(page) if page.starts_with(TEXT) => return page,
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    };
    let page = tokio::time::timeout(PATIENCE, tries).await;
    page.map_err(|_| Failure::failed(format!("no page from {address}:{PORT} within {PATIENCE:?}")))
}

async fn page(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(format!("{address}:{PORT}")).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut said = String::new();
    stream.take(PAGE_MAX).read_to_string(&mut said).await?;
    Ok(said.split_once("\r\n\r\n").map(|(_, page)| page.trim().to_owned()).unwrap_or_default())
}
