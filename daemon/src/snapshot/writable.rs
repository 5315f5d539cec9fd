//! The writable parts: one folder a container, which says on disk what layers it stands on before anything is
//! made in it.
//!
//! Owns: `active/`. Never: mounts anything.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use protocol::ids::ContainerId;
use serde::{Deserialize, Serialize};

use crate::{
    snapshot::{
        ChainId, SnapshotError,
        layers::{read_record, remove_folder},
    },
    steps, store,
};

/// File in a writable part's folder that lists the layers below it.
const RECORD: &str = "layers.json";

/// What a writable part stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Base {
    version: u32,
    /// Bottom first.
    layers: Vec<ChainId>,
}

/// The writable parts that are there.
#[derive(Debug)]
pub(super) struct Writables {
    active: PathBuf,
    /// What each stands on; `None`: its record is damaged, so any layer may be below it. Nothing that waits for
    /// the disk happens under this lock.
    bases: Mutex<BTreeMap<String, Option<Base>>>,
}

impl Writables {
    /// Reads what is there.
    pub(super) fn open(root: &Path) -> Result<Self, SnapshotError> {
        let active = root.join("active");
        store::make_dir(&active).map_err(SnapshotError::disk("make the folder", &active))?;
        let mut bases = BTreeMap::new();
        for key in store::names(&active).map_err(SnapshotError::disk("list", &active))? {
            match read_record::<Base>(&active.join(&key).join(RECORD)) {
                Ok(Some(base)) => drop(bases.insert(key, Some(base))),
                // Its making was cut short before anything was mounted.
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(key, %error, "a container's list of layers is damaged; no layer is freed until it is removed");
                    bases.insert(key, None);
                }
            }
        }
        Ok(Self { active, bases: Mutex::new(bases) })
    }

    /// Makes the folder of a writable part, or finds the one of an interrupted call.
    pub(super) fn prepare(&self, key: &str, layers: &[ChainId]) -> Result<PathBuf, SnapshotError> {
        let folder = self.folder(key)?;
        let base = Base { version: 1, layers: layers.to_vec() };
        match self.bases().get(key) {
            Some(Some(there)) if *there == base => return Ok(folder),
            Some(_) => return Err(SnapshotError::Conflict(key.to_owned())),
            None => {}
        }
        self.bases().insert(key.to_owned(), Some(base.clone()));
        let made = steps::check("rootfs.folder").and_then(|()| store::make_dir(&folder));
        made.map_err(SnapshotError::disk("make the folder", &folder))?;
        let record = folder.join(RECORD);
        write_record(&record, &base).map_err(SnapshotError::disk("write", &record))?;
        Ok(folder)
    }

    /// Removes a writable part. Finds it gone: fine.
    pub(super) fn remove(&self, key: &str) -> Result<(), SnapshotError> {
        remove_folder(&self.folder(key)?)?;
        self.bases().remove(key);
        Ok(())
    }

    /// Refuses when a container stands on this layer.
    pub(super) fn check_unused(&self, chain: &ChainId) -> Result<(), SnapshotError> {
        let uses = |base: &Option<Base>| base.as_ref().is_none_or(|base| base.layers.contains(chain));
        match self.bases().iter().find(|(_, base)| uses(base)) {
            Some((key, _)) => Err(SnapshotError::InUse { chain: chain.clone(), key: key.clone() }),
            None => Ok(()),
        }
    }

    /// Every key with a folder.
    pub(super) fn keys(&self) -> Result<Vec<String>, SnapshotError> {
        store::names(&self.active).map_err(SnapshotError::disk("list", &self.active))
    }

    /// Where a key's folder is or would be.
    pub(super) fn place(&self, key: &str) -> PathBuf {
        self.active.join(key)
    }

    fn folder(&self, key: &str) -> Result<PathBuf, SnapshotError> {
        match ContainerId::parse(key) {
            Ok(_) => Ok(self.active.join(key)),
            Err(_) => Err(SnapshotError::BadKey(key.to_owned())),
        }
    }

    fn bases(&self) -> MutexGuard<'_, BTreeMap<String, Option<Base>>> {
        // Each statement under this lock leaves the map sound, so a panic elsewhere does no harm.
        self.bases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a record in its place whole, but not durably: it must outlive the daemon, not the host, since after a
/// power cut nothing is mounted, and a record that was lost or cut then only keeps layers from being freed.
/// Waiting for the disk here would be most of the time that a root file system takes.
fn write_record(path: &Path, base: &Base) -> io::Result<()> {
    let half = path.with_extension("half");
    let mut file = File::create(&half)?;
    file.write_all(&serde_json::to_vec(base)?)?;
    fs::rename(&half, path)
}
