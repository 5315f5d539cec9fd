//! RemoveContainer: removes it, alive or not. One that is not there is removed.
//!
//! Never: its log file; that is the kubelet's.

use std::sync::Arc;

use cri_api::v1;
use tonic::Status;

use crate::{
    container::Containers,
    cri::{convert::required, error},
    image::Images,
    tasks::{self, Pool, blocking},
};

pub(in crate::cri) async fn handle(
    containers: &Containers,
    images: &Arc<Images>,
    request: v1::RemoveContainerRequest,
) -> Result<v1::RemoveContainerResponse, Status> {
    let wanted = required(&request.container_id, "container_id")?;
    if let Some(container) = containers.find(&wanted).map_err(error::container)? {
        container.remove().await.map_err(error::container)?;
        free_left(images);
    }
    Ok(v1::RemoveContainerResponse {})
}

/// An image may have been removed while this container stood on its layers.
pub(super) fn free_left(images: &Arc<Images>) {
    let images = Arc::clone(images);
    tasks::spawn("free layers", blocking(Pool::Disk, move || images.free_left()));
}
