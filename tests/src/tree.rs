//! Every entry of a folder as a line of text, so that two unpackings of one archive can be compared.
//!
//! Owns: what makes two entries equal: kind, mode, owner, time, size and content, link text, device numbers, extended
//! attributes, and which names are one file. Never: follows a link.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

/// Attributes that a file system or a layer store sets for itself.
const OWN: [&str; 2] = ["trusted.overlay.", "security.selinux"];

/// The kernel's bound on a list, and on a value (linux/limits.h).
const ATTRIBUTES_MAX: usize = 65_536;

/// What stands at each path.
pub type Tree = BTreeMap<String, String>;

/// Reads a whole folder. The root is `.`.
///
/// # Errors
/// Something cannot be read.
pub fn read(root: &Path) -> io::Result<Tree> {
    let mut tree = Tree::from([(".".to_owned(), line(root)?)]);
    let mut open = vec![PathBuf::new()];
    // Names of one file.
    let mut same: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let path = folder.join(entry?.file_name());
            let facts = fs::symlink_metadata(root.join(&path))?;
            let name = path.as_os_str().as_bytes().escape_ascii().to_string();
            tree.insert(name.clone(), line(&root.join(&path))?);
            if facts.is_dir() {
                open.push(path);
            } else if facts.nlink() > 1 {
                same.entry(facts.ino()).or_default().push(name);
            }
        }
    }
    // A name that is hidden still counts as one.
    for names in same.values_mut().filter(|names| names.len() > 1) {
        names.sort();
        for name in &*names {
            if let Some(line) = tree.get_mut(name) {
                line.push_str(&format!(" names={names:?}"));
            }
        }
    }
    Ok(tree)
}

/// The differences between two trees, for people; empty: none.
pub fn differences(one: &Tree, other: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (name, line) in one {
        match other.get(name) {
            Some(there) if there == line => {}
            Some(there) => found.push(format!("{name}:\n  {line}\n  {there}")),
            None => found.push(format!("{name}: only in the first: {line}")),
        }
    }
    found.extend(
        other
            .iter()
            .filter(|(name, _)| !one.contains_key(*name))
            .map(|(name, line)| format!("{name}: only in the second: {line}")),
    );
    found
}

fn line(path: &Path) -> io::Result<String> {
    let facts = fs::symlink_metadata(path)?;
    let kind = facts.file_type();
    let mut text = format!(
        "mode={:o} owner={}:{} mtime={}.{:09}",
        facts.mode(),
        facts.uid(),
        facts.gid(),
        facts.mtime(),
        facts.mtime_nsec()
    );
    if kind.is_symlink() {
        text += &format!(" link={:?}", fs::read_link(path)?);
    } else if kind.is_file() {
        let mut hasher = Sha256::new();
        io::copy(&mut fs::File::open(path)?, &mut HashWriter(&mut hasher))?;
        let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        text += &format!(" size={} content={hex}", facts.len());
    } else if !kind.is_dir() {
        text += &format!(" device={}", facts.rdev());
    }
    for (name, value) in attributes(path)? {
        text += &format!(" {name}={}", value.escape_ascii());
    }
    Ok(text)
}

/// Extended attributes, sorted, but for [`OWN`].
fn attributes(path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut list = vec![0_u8; ATTRIBUTES_MAX];
    let length = match rustix::fs::llistxattr(path, &mut list[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let text = name.escape_ascii().to_string();
        if OWN.iter().any(|own| text.starts_with(own)) {
            continue;
        }
        let mut value = vec![0_u8; ATTRIBUTES_MAX];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        value.truncate(length);
        found.push((text, value));
    }
    found.sort();
    Ok(found)
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
