//! Writes small records so that a reader sees the old one or the new one, whole, whatever happens.
//!
//! Owns: the replacing of a file. Never: the format of a record.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::libc::O_NOFOLLOW;

use crate::{
    fault::{Because, Fault},
    steps,
};

/// How much a record must outlive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The shim. Its file is in memory anyway.
    Process,
    /// A power cut: file and folder are synced.
    Power,
}

/// Replaces the record at this path.
pub(crate) fn write(path: &Path, record: &[u8], durability: Durability) -> Result<(), Fault> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = Path::new(&name);
    let failed = || format!("the record {} cannot be written", path.display());
    let mut options = OpenOptions::new();
    // Not cut first: where the daemon has made it, it has its place on a disk that is full by now.
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(O_NOFOLLOW);
    let mut file = options.open(new).because(failed)?;
    file.write_all(record).because(failed)?;
    file.set_len(record.len() as u64).because(failed)?;
    if durability == Durability::Power {
        file.sync_all().because(failed)?;
    }
    steps::reach("supervise.rename");
    std::fs::rename(new, path).because(failed)?;
    if durability == Durability::Power
        && let Some(folder) = path.parent()
    {
        File::open(folder).and_then(|folder| folder.sync_all()).because(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Durability, write};

    #[test]
    fn the_last_record_is_there_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exit");
        std::fs::File::create(dir.path().join("exit.new")).unwrap().set_len(4096).unwrap();
        write(&path, b"one\n", Durability::Power).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\n");
        write(&path, b"two\n", Durability::Process).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("no/exit"), b"", Durability::Power).is_err());
    }
}
