//! ImageFsInfo: how full the store is. Every client asks at connect, so the answer comes from memory; what has not
//! been counted yet is counted behind it.
//!
//! Never: walks the store while somebody waits.

use std::sync::Arc;

use cri_api::v1;

use crate::{
    clock::now_nanos,
    image::Images,
    layout::Layout,
    tasks::{self, Pool, blocking},
};

pub(in crate::cri) fn handle(images: &Arc<Images>, layout: &Layout) -> v1::ImageFsInfoResponse {
    let (used, whole) = images.usage();
    if !whole && let Some(counter) = images.counter() {
        tasks::spawn("count layers", blocking(Pool::Walk, move || counter.count()));
    }
    let usage = v1::FilesystemUsage {
        timestamp: now_nanos(),
        fs_id: Some(v1::FilesystemIdentifier { mountpoint: layout.root().to_string_lossy().into_owned() }),
        used_bytes: Some(v1::UInt64Value { value: used.bytes }),
        inodes_used: Some(v1::UInt64Value { value: used.inodes }),
    };
    // Containers write to the same file system: equal mount points say that to the kubelet.
    v1::ImageFsInfoResponse { image_filesystems: vec![usage.clone()], container_filesystems: vec![usage] }
}
