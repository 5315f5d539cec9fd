//! ListImages: what is in the catalogue.
//!
//! Never: an image whose files are not whole.

use cri_api::v1;

use crate::{
    cri::convert::image,
    image::{Images, PinnedNames},
};

pub(in crate::cri) fn handle(
    images: &Images,
    pinned: &PinnedNames,
    request: v1::ListImagesRequest,
) -> v1::ListImagesResponse {
    let wanted = request.filter.and_then(|filter| filter.image).map(|spec| spec.image).unwrap_or_default();
    let found = if wanted.is_empty() { images.list() } else { images.find(&wanted).into_iter().collect() };
    v1::ListImagesResponse { images: found.iter().map(|found| image(found, pinned.has(found))).collect() }
}
