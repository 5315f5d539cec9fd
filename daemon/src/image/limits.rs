//! Bounds on what an image may hold, each with its reason. Images are hostile until proved otherwise.
//!
//! Owns: numbers. Never: logic.

/// Largest index or manifest read, in bytes: what registries and other engines keep to.
pub(super) const MANIFEST_MAX: u64 = 4 << 20;

/// Largest image configuration, in bytes: the same.
pub(super) const CONFIG_MAX: u64 = 4 << 20;

/// Largest catalogue record, in bytes: manifest and configuration inside it, as JSON texts that may double.
pub(super) const RECORD_MAX: u64 = 2 * (MANIFEST_MAX + CONFIG_MAX) + (4 << 20);

/// Layers of one image: what one overlay can hold.
pub(super) const LAYERS_MAX: usize = 500;

/// Entries of one index; real ones have some dozens (platforms and attestations).
pub(super) const INDEX_MAX: usize = 1000;

/// How deep indexes may nest.
pub(super) const INDEX_DEPTH: usize = 3;

/// Files in an archive that holds an image: layers, manifests and configurations of a few hundred images.
pub(super) const ARCHIVE_FILES_MAX: usize = 100_000;

/// Links followed inside an archive: `docker save` of old makes one hop.
pub(super) const ARCHIVE_LINKS: usize = 4;

/// Header data of one tar entry (long names, extended headers), in bytes: tar-split's bound as well.
pub(super) const TAR_HEADER_MAX: u64 = 1 << 20;

/// Longest path of a layer's entry and longest text of a link, in bytes: the kernel's PATH_MAX.
pub(super) const PATH_MAX: usize = 4096;

/// Longest name of one path component, in bytes: the kernel's NAME_MAX.
pub(super) const NAME_MAX: usize = 255;

/// Largest value of one extended attribute, in bytes: the kernel's XATTR_SIZE_MAX.
pub(super) const XATTR_MAX: usize = 65_536;

/// Entries of one layer. The largest images known have some hundred thousand.
pub(super) const ENTRIES_MAX: u64 = 2_000_000;

/// Bytes of one layer, unpacked, its tar framing included.
pub(super) const LAYER_MAX: u64 = 50 << 30;

/// Bytes of all folder names of one layer, kept in memory until its end (folders get their times last).
pub(super) const FOLDER_NAMES_MAX: usize = 64 << 20;

/// Largest zstd window, as a power of two: libzstd's own ceiling, 128 MiB.
pub(super) const ZSTD_WINDOW_LOG: u32 = 27;

/// Buffer for reading blobs and writing files, in bytes: large enough that system calls do not show.
pub(super) const BUFFER: usize = 128 << 10;

/// Layers that are pulled at a time, of all images together: several images come beside one whose registry
/// trickles; each may need a zstd window of memory and a core.
pub(super) const PULL_LAYERS: usize = 12;

/// Layers of one image that are pulled at a time: enough to hide a registry's latency, and a slow one leaves
/// places for others.
pub(super) const PULL_LAYERS_EACH: usize = 3;

/// Pieces of a layer that wait for the unpacker, of some tens of KiB each: the network need not stop while the
/// disk does.
pub(super) const PULL_PIECES: usize = 64;

/// How long a pull goes on when nobody waits for it: a kubelet that starts again, or whose deadline passed, asks
/// again and joins it.
pub(super) const PULL_LINGER: std::time::Duration = std::time::Duration::from_secs(30);

/// Between two reports of progress, in bytes.
pub(super) const PROGRESS_STEP: u64 = 4 << 20;

/// Longest repository name, in bytes: the distribution specification's usual 255.
pub(super) const REPOSITORY_MAX: usize = 255;

/// Longest tag, in bytes: the distribution specification's.
pub(super) const TAG_MAX: usize = 128;

/// Fewest hexadecimal digits that are taken as the beginning of an id.
pub(super) const ID_PREFIX_MIN: usize = 3;

/// Image names taken from one archive, per image.
pub(super) const NAMES_MAX: usize = 1000;

const _: () = assert!(LAYERS_MAX <= INDEX_MAX);
const _: () = assert!(PULL_LAYERS_EACH < PULL_LAYERS && PULL_LAYERS <= crate::limits::UNPACK_POOL);
const _: () = assert!(PROGRESS_STEP > BUFFER as u64);
