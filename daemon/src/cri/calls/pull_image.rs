//! PullImage: from its registry into the store. Equal requests share one pull; one that was given up by its caller
//! goes on for a while, so that the retry finds it.
//!
//! Never: says a secret, or answers before the image is whole.

use cri_api::v1;
use tonic::Status;

use crate::{
    cri::{
        convert::{credentials, required},
        error,
    },
    image::Pulls,
    oci::Handlers,
};

pub(in crate::cri) async fn handle(
    pulls: &Pulls,
    handlers: &Handlers,
    request: v1::PullImageRequest,
) -> Result<v1::PullImageResponse, Status> {
    let spec = request.image.ok_or_else(|| error::invalid("image is missing"))?;
    let name = required(&spec.image, "image.image")?;
    if !spec.runtime_handler.is_empty() {
        handlers.resolve(&spec.runtime_handler).map_err(|e| error::invalid(e.to_string()))?;
    }
    let credentials = credentials(request.auth, &name)?;
    let mut pull = pulls.pull(&name, credentials).await.map_err(|e| error::image(&e))?;
    let image = pull.image().await.map_err(|e| error::image(&e))?;
    Ok(v1::PullImageResponse { image_ref: image.id.clone() })
}
