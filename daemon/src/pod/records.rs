//! The facts of an object found at start: from the disk, else from the copy of this boot, else from nothing but its id.
//!
//! Whatever is damaged, the object shows and can be removed. Owns: which of the two is believed. Never: guesses what was
//! asked for.

use std::{io, path::Path};

use serde::{Serialize, de::DeserializeOwned};

use crate::store;

/// What is known of an object.
#[derive(Debug)]
pub(super) enum Facts<F> {
    /// What was asked for.
    Known(F),
    /// The folder was made a moment before a crash and holds nothing.
    Nothing,
    /// Neither the record nor its copy can be read.
    Unreadable,
}

/// Reads an object's facts: the record, or its copy, which then is put in the record's place. `is_own` tells those of
/// another object.
pub(super) fn read<F: Serialize + DeserializeOwned>(
    folder: &Path,
    record: &Path,
    copy: &Path,
    is_own: impl Fn(&F) -> bool,
) -> Facts<F> {
    let own = |path: &Path| -> io::Result<Option<F>> {
        match store::read_json(path)? {
            Some(facts) if !is_own(&facts) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "they are another object's"))
            }
            facts => Ok(facts),
        }
    };
    let why = match own(record) {
        Ok(Some(facts)) => return Facts::Known(facts),
        Ok(None) => io::Error::from(io::ErrorKind::NotFound),
        Err(error) => error,
    };
    if let Ok(Some(facts)) = own(copy) {
        tracing::error!(path = %record.display(), error = %why, "facts are damaged; this boot's copy is put in their place");
        if let Err(error) = store::replace_json(record, &facts) {
            tracing::error!(path = %record.display(), %error, "it cannot be written; it is used all the same");
        }
        return Facts::Known(facts);
    }
    let is_empty = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if why.kind() == io::ErrorKind::NotFound && is_empty {
        return Facts::Nothing;
    }
    tracing::error!(path = %record.display(), error = %why, "facts cannot be read; what is left can be removed by its id");
    Facts::Unreadable
}

/// When a folder was made, as far as can be told: for what has no other word about it.
pub(super) fn made_at(folder: &Path) -> i64 {
    let modified = folder.metadata().and_then(|metadata| metadata.modified()).ok();
    let since = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Facts, read};
    use crate::store;

    #[test]
    fn the_copy_stands_in_and_nothing_is_believed_blindly() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| folder.path().join(name);
        let all = of("object");
        store::make_dir(&all).unwrap();
        let look = || read::<String>(&all, &all.join("facts.json"), &of("copy"), |facts| facts == "mine");
        assert!(matches!(look(), Facts::Nothing));
        store::replace_json(&all.join("facts.json"), &"theirs").unwrap();
        assert!(matches!(look(), Facts::Unreadable));
        store::put_json(&of("copy"), &"mine").unwrap();
        assert!(matches!(look(), Facts::Known(facts) if facts == "mine"));
        std::fs::remove_file(of("copy")).unwrap();
        assert!(matches!(look(), Facts::Known(_)), "it was healed");
        std::fs::remove_file(all.join("facts.json")).unwrap();
        store::replace(&all.join("created"), b"").unwrap();
        assert!(matches!(look(), Facts::Unreadable), "something was made");
    }
}
