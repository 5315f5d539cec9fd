//! Which extended attributes of an entry are kept.
//!
//! Never: sets one.

use super::error::{UnpackError, shown};
use crate::{
    image::{limits::XATTR_MAX, tar_stream::Member},
    sys::unpack::Xattrs,
};

/// The attributes that are kept: user's and file capabilities. Those that steer overlay are refused; labels of
/// security modules and access lists belong to the host that made the image, not to this one.
pub(super) fn kept(member: &Member) -> Result<Xattrs, UnpackError> {
    let mut kept = Vec::new();
    for (name, value) in &member.attributes.xattrs {
        if name.starts_with(b"trusted.") {
            return Err(UnpackError::Reserved { entry: shown(&member.path), name: shown(name) });
        }
        if value.len() > XATTR_MAX {
            return Err(UnpackError::Bound {
                what: "bytes of one extended attribute",
                max: XATTR_MAX as u64,
            });
        }
        if name.starts_with(b"user.") || name == b"security.capability" {
            if name.contains(&0) {
                return Err(UnpackError::Value { entry: shown(&member.path), what: "attribute name" });
            }
            kept.push((name.clone(), value.clone()));
        }
    }
    Ok(kept)
}
