//! The capability that keeps an image: who has one may build on it.
//!
//! Never: says who holds it.

use std::sync::Arc;

use crate::image::{Image, images::Shared};

/// While this lives, the image cannot be removed.
#[derive(Debug)]
pub struct ImagePin {
    pub(super) image: Arc<Image>,
    pub(super) shared: Arc<Shared>,
}

impl ImagePin {
    /// The image, as it was when it was pinned.
    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }
}

impl Drop for ImagePin {
    fn drop(&mut self) {
        self.shared.catalogue().unpin(&self.image.id);
    }
}
