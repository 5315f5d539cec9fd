//! Bounds of the layer store, each with its reason.
//!
//! Owns: numbers. Never: logic.

/// Bytes of a classic mount call's options: the kernel copies one page and cuts what is beyond.
pub(super) const MOUNT_OPTIONS_MAX: usize = 4095;

/// Bytes of one value given to `fsconfig`: the kernel takes at most 256 with the closing zero.
pub(super) const FSCONFIG_VALUE_MAX: usize = 255;

/// Layers below one mount: overlay's own bound (`OVL_MAX_STACK` in fs/overlayfs).
pub(super) const LAYERS_MAX: usize = 500;

/// Largest record of a layer or a writable part, in bytes: 500 chain ids of 71 bytes, generously.
pub(super) const RECORD_MAX: u64 = 256 << 10;

/// Longest text of the kernel's own words on a failed mount, in bytes.
pub(super) const MOUNT_MESSAGE_MAX: usize = 1024;

/// Buffer for copying one file, in bytes.
pub(super) const COPY_BUFFER: usize = 128 << 10;

const _: () = assert!(LAYERS_MAX as u64 * 100 < RECORD_MAX);
