//! RemoveImage: with all its tags. One that is not there is removed.
//!
//! Never: an image that a container is being made from.

use std::sync::Arc;

use cri_api::v1;
use tonic::Status;

use crate::{
    cri::error,
    image::Images,
    tasks::{Pool, blocking},
};

pub(in crate::cri) async fn handle(
    images: &Arc<Images>,
    request: v1::RemoveImageRequest,
) -> Result<v1::RemoveImageResponse, Status> {
    let wanted = request.image.map(|spec| spec.image).unwrap_or_default();
    if wanted.is_empty() {
        return Err(error::invalid("image.image is empty; it is needed"));
    }
    let images = images.clone();
    blocking(Pool::Disk, move || images.remove(&wanted)).await.map_err(|e| error::image(&e))?;
    Ok(v1::RemoveImageResponse {})
}
