//! The routing table of the CRI's ImageService: one line a call, showing what it may touch.
//!
//! Never: a body; those are in `calls`.

use std::sync::Arc;

use cri_api::v1;
use tonic::{Request, Response, Status};

use super::{bounded::Call, calls};
use crate::{
    image::{Images, PinnedNames, Pulls},
    layout::Layout,
    oci::Handlers,
    operations::{About, Operations},
};

/// Images.
#[derive(Debug, Clone)]
pub struct ImageService {
    /// The images.
    pub images: Arc<Images>,
    /// Where more come from.
    pub pulls: Pulls,
    /// The runtimes, which a pull may name.
    pub handlers: Handlers,
    /// Those that must stay.
    pub pinned: PinnedNames,
    /// Where they are.
    pub layout: Layout,
    /// What is under way with them.
    pub operations: Operations,
}

/// The stream of a call that is not implemented: there is none.
type Never<T> = tokio_stream::Empty<Result<T, Status>>;

#[tonic::async_trait]
impl v1::image_service_server::ImageService for ImageService {
    async fn list_images(
        &self,
        request: Request<v1::ListImagesRequest>,
    ) -> Result<Response<v1::ListImagesResponse>, Status> {
        Ok(Response::new(calls::list_images::handle(&self.images, &self.pinned, request.into_inner())))
    }

    type StreamImagesStream = Never<v1::StreamImagesResponse>;

    async fn stream_images(
        &self,
        _: Request<v1::StreamImagesRequest>,
    ) -> Result<Response<Self::StreamImagesStream>, Status> {
        Err(calls::stream_images::handle())
    }

    async fn image_status(
        &self,
        request: Request<v1::ImageStatusRequest>,
    ) -> Result<Response<v1::ImageStatusResponse>, Status> {
        calls::image_status::handle(&self.images, &self.pinned, request.into_inner()).map(Response::new)
    }

    async fn pull_image(
        &self,
        request: Request<v1::PullImageRequest>,
    ) -> Result<Response<v1::PullImageResponse>, Status> {
        let about = About::image(request.get_ref().image.as_ref().map_or("", |image| &image.image));
        let call = Call::new("PullImage", about, request.metadata()).without_own_bound();
        let work = calls::pull_image::handle(&self.pulls, &self.handlers, request.into_inner());
        call.run(&self.operations, work).await
    }

    async fn remove_image(
        &self,
        request: Request<v1::RemoveImageRequest>,
    ) -> Result<Response<v1::RemoveImageResponse>, Status> {
        let about = About::image(request.get_ref().image.as_ref().map_or("", |image| &image.image));
        let call = Call::new("RemoveImage", about, request.metadata());
        call.run(&self.operations, calls::remove_image::handle(&self.images, request.into_inner())).await
    }

    async fn image_fs_info(
        &self,
        _: Request<v1::ImageFsInfoRequest>,
    ) -> Result<Response<v1::ImageFsInfoResponse>, Status> {
        Ok(Response::new(calls::image_fs_info::handle(&self.images, &self.layout)))
    }
}
