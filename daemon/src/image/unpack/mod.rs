//! Unpacks one layer's archive into a folder, and nowhere else.
//!
//! Owns: what each kind of entry becomes, whiteouts in overlay's form, the bounds of a layer. Never: follows a
//! link, trusts a name, or keeps going after a refusal.

mod entry_path;
mod error;
mod unpacker;
mod xattrs;

pub use error::UnpackError;
pub(super) use unpacker::{Bounds, Unpacker};
