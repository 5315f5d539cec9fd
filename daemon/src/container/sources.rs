//! The host's side of the mounts that were asked for: makes what is missing, and checks that mounts can travel where
//! that was asked.
//!
//! Blocking: a path may be on a file system that hangs. Owns: what a good source is. Never: mounts anything.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::{ContainerError, Mount, Propagation};

/// Mode of a folder made for a missing source, as other runtimes make it; kubelet's hostPath volumes rely on it.
const SOURCE_MODE: u32 = 0o755;

/// Makes missing sources and checks all.
pub(super) fn prepare(mounts: &[Mount]) -> Result<(), ContainerError> {
    let travelling = mounts.iter().any(|mount| mount.propagation != Propagation::Private);
    let table = if travelling {
        fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()
    } else {
        String::new()
    };
    for mount in mounts {
        let path = Path::new(&mount.host_path);
        let bad = |why: String| ContainerError::Source { path: mount.host_path.clone(), why };
        match fs::metadata(path) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let made = fs::DirBuilder::new().recursive(true).mode(SOURCE_MODE).create(path);
                made.map_err(|e| bad(format!("it is not there and cannot be made a folder: {e}")))?;
            }
            Err(e) => return Err(bad(e.to_string())),
        }
        if mount.propagation != Propagation::Private {
            let real = fs::canonicalize(path).map_err(|e| bad(e.to_string()))?;
            check_travel(&table, &real, mount.propagation).map_err(bad)?;
        }
    }
    Ok(())
}

/// What mountinfo(5) says of one mount.
struct Line {
    point: PathBuf,
    shared: bool,
    slave: bool,
}

fn line(text: &str) -> Option<Line> {
    let (head, _) = text.split_once(" - ")?;
    let mut words = head.split(' ');
    let point = words.nth(4)?;
    let tags: Vec<&str> = words.skip(1).collect();
    let has = |prefix: &str| tags.iter().any(|tag| tag.starts_with(prefix));
    Some(Line { point: PathBuf::from(unescape(point)), shared: has("shared:"), slave: has("master:") })
}

/// Spaces and the like stand as `\040` in mountinfo.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}

/// Mounts travel only from a mount that passes them on: a shared one, or for the way in a slave too.
fn check_travel(table: &str, source: &Path, propagation: Propagation) -> Result<(), String> {
    let below = table.lines().filter_map(line).filter(|line| source.starts_with(&line.point));
    // The deepest holds it; of several at one point the last one, which is on top.
    let Some(holder) = below.max_by_key(|line| line.point.components().count()) else {
        return Err("it is on no known mount".to_owned());
    };
    let at = holder.point.display();
    match propagation {
        Propagation::Private => Ok(()),
        Propagation::HostToContainer if holder.shared || holder.slave => Ok(()),
        Propagation::Bidirectional if holder.shared => Ok(()),
        Propagation::HostToContainer => Err(format!(
            "propagation HOST_TO_CONTAINER needs a shared or slave mount, but {at} is private (mount --make-rshared {at})"
        )),
        Propagation::Bidirectional => Err(format!(
            "propagation BIDIRECTIONAL needs a shared mount, but {at} is not (mount --make-rshared {at})"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Propagation, check_travel, unescape};

    const TABLE: &str = "\
1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw
2 1 0:5 / /srv/a\\040b rw shared:7 - tmpfs tmpfs rw
3 1 0:6 / /slave rw master:7 - tmpfs tmpfs rw
4 1 0:7 / /both rw - tmpfs tmpfs rw
5 1 0:8 / /both rw shared:9 master:2 - tmpfs tmpfs rw
";

    #[test]
    fn mounts_travel_from_shared_ones_only() {
        use Propagation::{Bidirectional, HostToContainer};
        for (path, propagation, good) in [
            ("/srv/a b/deep", Bidirectional, true),
            ("/srv/a b", HostToContainer, true),
            ("/slave/x", HostToContainer, true),
            ("/slave/x", Bidirectional, false),
            ("/srv/other", HostToContainer, false),
            ("/both/x", Bidirectional, true),
            ("/bothered", Bidirectional, false),
        ] {
            assert_eq!(check_travel(TABLE, Path::new(path), propagation).is_ok(), good, "{path}");
        }
        assert_eq!(unescape("a\\040b\\\\134c\\"), "a b\\\\c\\");
    }
}
