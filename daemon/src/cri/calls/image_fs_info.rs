//! ImageFsInfo: how full the store is. Every client asks at connect, so the answer comes from memory.
//!
//! Never: walks the store.

use cri_api::v1;

use crate::{clock::now_nanos, image::Images, layout::Layout};

pub(in crate::cri) fn handle(images: &Images, layout: &Layout) -> v1::ImageFsInfoResponse {
    let used = images.list().iter().map(|image| image.size).sum();
    let usage = v1::FilesystemUsage {
        timestamp: now_nanos(),
        fs_id: Some(v1::FilesystemIdentifier { mountpoint: layout.root().to_string_lossy().into_owned() }),
        used_bytes: Some(v1::UInt64Value { value: used }),
        // Not counted yet: absent rather than invented.
        inodes_used: None,
    };
    v1::ImageFsInfoResponse { image_filesystems: vec![usage.clone()], container_filesystems: vec![usage] }
}
