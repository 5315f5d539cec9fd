//! ImageStatus: one image by any name. One that is not there is no error.
//!
//! Never: another answer for another name of the same image.

use std::collections::HashMap;

use cri_api::v1;
use tonic::Status;

use crate::{
    cri::{convert::image, error},
    image::{Images, PinnedNames},
};

pub(in crate::cri) fn handle(
    images: &Images,
    pinned: &PinnedNames,
    request: v1::ImageStatusRequest,
) -> Result<v1::ImageStatusResponse, Status> {
    let spec = request.image.ok_or_else(|| error::invalid("image is missing"))?;
    if spec.image.is_empty() {
        return Err(error::invalid("image.image is empty; it is needed"));
    }
    let found = images.find(&spec.image);
    let mut info = HashMap::new();
    if let Some(found) = found.as_ref().filter(|_| request.verbose) {
        let layers: Vec<String> = found.layers.iter().map(ToString::to_string).collect();
        let text = serde_json::json!({
            "chainID": layers.last(),
            "chainIDs": layers,
            "imageSpec": found.config,
        });
        info.insert("info".to_owned(), text.to_string());
    }
    Ok(v1::ImageStatusResponse { image: found.as_deref().map(|found| image(found, pinned.has(found))), info })
}
