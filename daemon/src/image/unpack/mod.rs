//! Unpacks one layer's archive into a folder, and nowhere else.
//!
//! Owns: what each kind of entry becomes, whiteouts in overlay's form, the bounds of a layer. Never: lets a link
//! lead out of the root, trusts a name, or keeps going after a refusal.

mod entry_path;
mod error;
mod merged;
mod unpacker;
mod xattrs;

/// overlay's attribute of a folder that hides all of its name below.
const OPAQUE_ATTRIBUTE: &str = "trusted.overlay.opaque";

pub use error::UnpackError;
pub use unpacker::Bounds;
pub(super) use unpacker::Unpacker;
