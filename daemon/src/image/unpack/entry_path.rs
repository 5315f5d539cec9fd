//! Names in a layer: relative, without `..`, within the kernel's lengths. The only way to have one is to
//! check one.
//!
//! Never: looks at the file system.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::error::{UnpackError, shown};
use crate::image::limits::{NAME_MAX, PATH_MAX};

/// A checked name. Empty: the layer's root itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryPath(PathBuf);

impl EntryPath {
    /// Checks a name as it stands in an archive. `.` and doubled slashes are dropped.
    pub(super) fn parse(name: &[u8]) -> Result<Self, UnpackError> {
        let leaves = |why| UnpackError::Leaves { entry: shown(name), why };
        if name.len() > PATH_MAX {
            return Err(UnpackError::Bound { what: "bytes of one path", max: PATH_MAX as u64 });
        }
        if name.contains(&0) {
            return Err(UnpackError::Value { entry: shown(name), what: "name" });
        }
        let mut path = PathBuf::new();
        for part in name.split(|b| *b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(leaves("it climbs by \"..\"")),
                _ if part.len() > NAME_MAX => {
                    return Err(UnpackError::Bound { what: "bytes of one name", max: NAME_MAX as u64 });
                }
                _ => path.push(OsStr::from_bytes(part)),
            }
        }
        if name.starts_with(b"/") && !path.as_os_str().is_empty() {
            return Err(leaves("it is absolute"));
        }
        Ok(Self(path))
    }

    /// Whether it is the layer's root.
    pub(super) fn is_root(&self) -> bool {
        self.0.as_os_str().is_empty()
    }

    /// The last component; empty for the root.
    pub(super) fn name(&self) -> &[u8] {
        self.0.file_name().map_or(b"", OsStr::as_bytes)
    }

    /// The folder it is in.
    pub(super) fn parent(&self) -> &Path {
        self.0.parent().unwrap_or(Path::new(""))
    }

    /// The whole name.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_os_str().as_bytes()
    }

    /// The same last name in another folder, which is known to be inside.
    pub(super) fn in_folder(&self, folder: &Path) -> Self {
        Self(self.0.file_name().map_or_else(|| folder.to_owned(), |name| folder.join(name)))
    }

    /// A name beside this one.
    pub(super) fn sibling(&self, name: &[u8]) -> Self {
        Self(self.parent().join(OsStr::from_bytes(name)))
    }

    /// As a path for the functions of `sys`.
    pub(super) fn as_path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::EntryPath;

    #[test]
    fn names_stay_inside() {
        for (name, expected) in
            [("a/b", "a/b"), ("./a//b/", "a/b"), (".", ""), ("./", ""), ("/", ""), ("...", "...")]
        {
            assert_eq!(EntryPath::parse(name.as_bytes()).unwrap().as_path().to_str(), Some(expected));
        }
        let long = "x".repeat(256);
        let deep = "a/".repeat(2049);
        for bad in ["..", "../x", "a/../../x", "a/..", "/etc/x", "//etc", "a\0b", &long, &deep] {
            assert!(EntryPath::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
