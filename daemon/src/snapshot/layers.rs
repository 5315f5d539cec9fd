//! The layers on disk: numbered folders, and one small record per chain id, written last.
//!
//! Owns: `layers/` and `chains/`. Never: mounts anything, or knows what stands in a layer.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    snapshot::{
        Below, ChainId, FillError, Fresh, SnapshotError,
        limits::{LAYERS_MAX, RECORD_MAX},
    },
    steps, store,
    sys::unpack::{Attributes, Beneath, remove_tree},
};

/// Version of the record's form.
const VERSION: u32 = 1;

/// Where one layer is.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Layer {
    version: u32,
    /// Number of its folder: short, since mount options are.
    folder: u64,
    /// Bytes of its files.
    size: u64,
}

/// The layers that are there.
#[derive(Debug)]
pub(super) struct Layers {
    layers: PathBuf,
    chains: PathBuf,
    /// A copy of each record: without one, a layer that containers stand on would be swept away.
    copies: PathBuf,
    /// Mirrors `chains/`. Nothing that waits for the disk happens under this lock.
    known: Mutex<BTreeMap<ChainId, Layer>>,
    next: AtomicU64,
}

impl Layers {
    /// Reads every record; removes folders without one (a commit or a removal that was cut short).
    pub(super) fn open(root: &Path) -> Result<Self, SnapshotError> {
        let (layers, chains, copies) = (root.join("layers"), root.join("chains"), root.join("copies"));
        if let Err(error) = store::make_dir(&copies) {
            tracing::warn!(%error, "records of layers will have no copies");
        }
        for folder in [&layers, &chains] {
            store::make_dir(folder).map_err(SnapshotError::disk("make the folder", folder))?;
        }
        let mut known = BTreeMap::new();
        let mut names = store::names(&chains).map_err(SnapshotError::disk("list", &chains))?;
        names.extend(store::names(&copies).map_err(SnapshotError::disk("list", &copies))?);
        names.sort();
        names.dedup();
        for name in names {
            let path = chains.join(&name);
            let Some(chain) = name.strip_suffix(".json").and_then(ChainId::parse) else {
                remove_file(&path)?;
                continue;
            };
            match read_or_heal(&path, &copies.join(&name)) {
                Ok(Some(layer)) if layers.join(layer.folder.to_string()).is_dir() => {
                    known.insert(chain, layer);
                }
                Ok(_) => {
                    tracing::warn!(%chain, "a layer has no folder or no record; it is forgotten");
                    // Its number will be another layer's.
                    remove_file(&copies.join(&name))?;
                    remove_file(&path)?;
                }
                Err(error) => tracing::warn!(%chain, %error, "a layer's record is damaged; it is forgotten"),
            }
        }
        let this = Self { next: AtomicU64::new(0), layers, chains, copies, known: Mutex::new(known) };
        this.sweep()?;
        Ok(this)
    }

    /// Whether a layer is there.
    pub(super) fn has(&self, chain: &ChainId) -> bool {
        self.folder(chain).is_some_and(|folder| folder.is_dir())
    }

    /// Bytes of a layer's files.
    pub(super) fn size(&self, chain: &ChainId) -> Option<u64> {
        self.known().get(chain).map(|layer| layer.size)
    }

    /// Names of the layers that are there.
    pub(super) fn chains(&self) -> Vec<ChainId> {
        self.known().keys().cloned().collect()
    }

    /// Folders of a stack of layers, in the order given.
    pub(super) fn folders(&self, layers: &[ChainId]) -> Result<Vec<PathBuf>, SnapshotError> {
        if layers.len() > LAYERS_MAX {
            let why = format!("at most {LAYERS_MAX}");
            return Err(SnapshotError::TooManyLayers { count: layers.len(), why });
        }
        let find = |chain: &ChainId| {
            let folder = self.folder(chain).filter(|folder| folder.is_dir());
            folder.ok_or_else(|| SnapshotError::NoLayer(chain.clone()))
        };
        layers.iter().map(find).collect()
    }

    /// See [`crate::snapshot::Snapshotter::commit`].
    pub(super) fn commit(
        &self,
        chain: &ChainId,
        below: Below<'_>,
        fill: &mut dyn FnMut(&Fresh<'_>) -> Result<u64, FillError>,
    ) -> Result<(), SnapshotError> {
        if self.has(chain) {
            return Ok(());
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let folder = self.layers.join(number.to_string());
        let begun = steps::check("layer.folder").map_err(SnapshotError::disk("make the folder", &folder));
        let made = begun
            .and_then(|()| make_layer_folder(&folder))
            .and_then(|dir| self.fill(chain, &dir, below, fill));
        let recorded = made.and_then(|size| {
            let layer = Layer { version: VERSION, folder: number, size };
            let path = self.record(chain);
            let copy = self.copies.join(format!("{}.json", chain.hex()));
            let written = steps::check("layer.record").and_then(|()| store::replace_json(&path, &layer));
            written.map_err(SnapshotError::disk("write", &path))?;
            // Last: the copy of a layer that is not there would one day name another one's folder.
            if let Err(error) = store::put_json(&copy, &layer) {
                tracing::warn!(%chain, %error, "a layer's record has no copy");
            }
            self.known().insert(chain.clone(), layer);
            Ok(())
        });
        if recorded.is_err()
            && let Err(error) = remove_folder(&folder)
        {
            tracing::warn!(%chain, %error, "a half-made layer stays until the next start");
        }
        recorded
    }

    /// Removes a layer: its record first, so it is never half there.
    pub(super) fn remove(&self, chain: &ChainId) -> Result<(), SnapshotError> {
        let Some(folder) = self.folder(chain) else { return Ok(()) };
        // The copy first: it would bring the record back.
        remove_file(&self.copies.join(format!("{}.json", chain.hex())))?;
        remove_file(&self.record(chain))?;
        self.known().remove(chain);
        steps::check("layer.remove").map_err(SnapshotError::disk("remove", &folder))?;
        remove_folder(&folder)
    }

    fn fill(
        &self,
        chain: &ChainId,
        dir: &fs::File,
        below: Below<'_>,
        fill: &mut dyn FnMut(&Fresh<'_>) -> Result<u64, FillError>,
    ) -> Result<u64, SnapshotError> {
        use std::os::fd::AsFd;
        let failed = |source| SnapshotError::Fill { chain: chain.clone(), source };
        let folders = || -> Result<Vec<PathBuf>, FillError> {
            (below.ready)()?;
            let mut folders = self.folders(below.layers)?;
            folders.reverse();
            Ok(folders)
        };
        let fresh = Fresh { folder: dir.as_fd(), below: &folders, root_is_dressed: Cell::new(false) };
        let size = fill(&fresh).map_err(failed)?;
        // Also a layer that needed nothing of them is not seen before they are.
        let folders = folders().map_err(|source| match source.downcast::<SnapshotError>() {
            Ok(ours) => *ours,
            Err(source) => failed(source),
        })?;
        if let Some(nearest) = folders.first().filter(|_| !fresh.root_is_dressed.get()) {
            copy_root(nearest, dir).map_err(SnapshotError::disk("copy the attributes of", nearest))?;
        }
        let synced = steps::check("layer.sync").and_then(|()| Beneath::new(dir.as_fd())?.sync());
        synced.map_err(SnapshotError::disk("write to the disk", &self.layers))?;
        Ok(size)
    }

    fn sweep(&self) -> Result<(), SnapshotError> {
        let used: Vec<u64> = self.known().values().map(|layer| layer.folder).collect();
        let mut next = 0;
        for name in store::names(&self.layers).map_err(SnapshotError::disk("list", &self.layers))? {
            let number = name.parse::<u64>().ok();
            next = next.max(number.map_or(0, |n| n.saturating_add(1)));
            if number.is_none_or(|n| !used.contains(&n)) {
                steps::reach("layer.sweep");
                remove_folder(&self.layers.join(&name))?;
            }
        }
        self.next.store(next, Ordering::Relaxed);
        Ok(())
    }

    /// Where a layer is.
    pub(super) fn folder(&self, chain: &ChainId) -> Option<PathBuf> {
        self.known().get(chain).map(|layer| self.layers.join(layer.folder.to_string()))
    }

    fn record(&self, chain: &ChainId) -> PathBuf {
        self.chains.join(format!("{}.json", chain.hex()))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ChainId, Layer>> {
        // No invariant spans two statements under this lock, so a panic elsewhere leaves it sound.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a layer's folder; its root looks as a root usually does.
fn make_layer_folder(folder: &Path) -> Result<fs::File, SnapshotError> {
    store::make_dir(folder).map_err(SnapshotError::disk("make the folder", folder))?;
    let dir = fs::File::open(folder).map_err(SnapshotError::disk("open", folder))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
        .map_err(SnapshotError::disk("set the mode of", folder))?;
    Ok(dir)
}

/// Gives a new root folder the attributes of another one, so that an overlay of both looks like the other:
/// overlay shows the topmost layer's.
pub(super) fn copy_root(from: &Path, to: &fs::File) -> std::io::Result<()> {
    let mut from = Beneath::open(from)?;
    let stat = from.stat(Path::new(""))?.ok_or(std::io::ErrorKind::NotFound)?;
    let mut attributes = Attributes::of(&stat);
    attributes.xattrs = from.xattrs(Path::new(""), |name| !name.starts_with(b"trusted."))?;
    Beneath::dress_file(to, &attributes)
}

/// Reads a layer's record, or its copy, which then is put in the record's place.
fn read_or_heal(record: &Path, copy: &Path) -> std::io::Result<Option<Layer>> {
    let read = match read_record::<Layer>(record) {
        Ok(Some(layer)) => return Ok(Some(layer)),
        read => read,
    };
    let Ok(Some(layer)) = read_record::<Layer>(copy) else { return read };
    tracing::error!(record = %record.display(), "a layer's record is damaged or gone; its copy is put in its place");
    store::replace_json(record, &layer)?;
    Ok(Some(layer))
}

/// Reads a bounded JSON record; `None`: not there.
pub(super) fn read_record<T: DeserializeOwned>(path: &Path) -> std::io::Result<Option<T>> {
    let Some(bytes) = store::read_up_to(path, RECORD_MAX)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(std::io::Error::from)
}

/// Removes a folder of the store with all that is in it. Finds it gone: fine.
pub(super) fn remove_folder(folder: &Path) -> Result<(), SnapshotError> {
    use std::os::{fd::AsFd, unix::ffi::OsStrExt};
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else { return Ok(()) };
    let dir = match fs::File::open(parent) {
        Ok(dir) => dir,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SnapshotError::disk("open", parent)(error)),
    };
    remove_tree(dir.as_fd(), name.as_bytes()).map_err(SnapshotError::disk("remove", folder))
}

/// Removes a file durably, or what has taken its name. Finds it gone: fine.
fn remove_file(path: &Path) -> Result<(), SnapshotError> {
    store::remove_file(path).map_err(SnapshotError::disk("remove", path))
}
