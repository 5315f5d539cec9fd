//! Checks that sandboxes and containers have in common.
//!
//! Never: knows a field; its callers name it.

use std::collections::HashMap;

use std::collections::BTreeMap;
use tonic::Status;

use crate::{
    cri::error::invalid,
    limits::{LABELS_MAX, LIST_MAX, NAME_MAX, PATH_MAX, TEXTS_MAX},
};

/// Refuses by name what is not supported yet.
pub(super) fn unsupported(asked: bool, field: &str) -> Result<(), Status> {
    if asked { Err(invalid(format!("{field} is not supported yet"))) } else { Ok(()) }
}

/// A name that must be there.
pub(in crate::cri) fn required(value: &str, field: &str) -> Result<String, Status> {
    if value.is_empty() {
        return Err(invalid(format!("{field} is empty; it is needed")));
    }
    name(value, field)
}

/// A name of a decent length without control characters.
pub(super) fn name(value: &str, field: &str) -> Result<String, Status> {
    if value.len() > NAME_MAX {
        return Err(invalid(format!("{field} is longer than {NAME_MAX} bytes")));
    }
    if value.chars().any(char::is_control) {
        return Err(invalid(format!("{field} holds a control character")));
    }
    Ok(value.to_owned())
}

/// A word that may stand in a line of a file.
pub(super) fn word(value: &str, field: &str) -> Result<String, Status> {
    if value.chars().any(char::is_whitespace) {
        return Err(invalid(format!("{field} {value:?} holds white space")));
    }
    required(value, field)
}

/// A text for a process: no NUL, which would end it early.
pub(super) fn text(value: &str, field: &str) -> Result<String, Status> {
    if value.contains('\0') {
        return Err(invalid(format!("{field} holds a NUL byte")));
    }
    Ok(value.to_owned())
}

/// A list of a decent length.
pub(super) fn list<'a, T>(values: &'a [T], field: &str) -> Result<&'a [T], Status> {
    if values.len() > LIST_MAX {
        return Err(invalid(format!("{field} has more than {LIST_MAX} entries")));
    }
    Ok(values)
}

/// An absolute path that stays where it points to.
pub(super) fn absolute(value: &str, field: &str) -> Result<String, Status> {
    if value.len() > PATH_MAX {
        return Err(invalid(format!("{field} is longer than {PATH_MAX} bytes")));
    }
    if !value.starts_with('/') || value.contains('\0') || value.split('/').any(|part| part == "..") {
        return Err(invalid(format!("{field} {value:?} must be an absolute path without ..")));
    }
    Ok(value.to_owned())
}

/// A path below another one.
pub(super) fn relative(value: &str, field: &str) -> Result<String, Status> {
    if value.len() > PATH_MAX {
        return Err(invalid(format!("{field} is longer than {PATH_MAX} bytes")));
    }
    if value.starts_with('/') || value.contains('\0') || value.split('/').any(|part| part == "..") {
        return Err(invalid(format!("{field} {value:?} must be a relative path without ..")));
    }
    Ok(value.to_owned())
}

/// A user or group id.
pub(super) fn id(value: i64, field: &str) -> Result<u32, Status> {
    // The highest number means "leave it as it is" to the kernel.
    let id = u32::try_from(value).ok().filter(|id| *id != u32::MAX);
    id.ok_or_else(|| invalid(format!("{field} {value} is no user or group id")))
}

/// Labels or annotations, sorted, and bounded all together.
pub(super) fn labels(map: &HashMap<String, String>, field: &str) -> Result<BTreeMap<String, String>, Status> {
    let total: usize = map.iter().map(|(key, value)| key.len() + value.len()).sum();
    if total > LABELS_MAX {
        return Err(invalid(format!("{field} are longer than {LABELS_MAX} bytes together")));
    }
    Ok(map.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// A bound on many texts together.
pub(super) fn together(total: usize, field: &str) -> Result<(), Status> {
    if total > TEXTS_MAX {
        return Err(invalid(format!("{field} is longer than {TEXTS_MAX} bytes altogether")));
    }
    Ok(())
}

/// Whether all pairs of a selector are among the labels.
pub(in crate::cri) fn fits_labels(
    labels: &BTreeMap<String, String>,
    selector: &HashMap<String, String>,
) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
