//! The images of this host: the one door to them.
//!
//! Owns: the catalogue's folder and the order of its changes. Never: knows who runs an image, beyond a pin.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    clock,
    image::{
        Digest, Image, ImageError, ImagePin, Progress,
        catalogue::Catalogue,
        chain_locks::ChainLocks,
        counter::Counter,
        import::{add, import},
        record::Record,
        unpack::Bounds,
        usage::{Usage, Usages},
    },
    snapshot::{ChainId, SnapshotError, Snapshotter},
    steps, store,
};

/// All images. Cheap to clone; safe to use from many threads; every call that changes something waits for the
/// disk.
#[derive(Debug, Clone)]
pub struct Images(Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    folder: PathBuf,
    snapshots: Arc<dyn Snapshotter>,
    bounds: Bounds,
    usages: Usages,
    /// A layer that no image needs stayed below a container.
    left: AtomicBool,
    locks: ChainLocks,
    /// Held while records change, so that a tag has one bearer. Taken before `catalogue`, never under it.
    writer: Mutex<()>,
    /// Nothing that waits for the disk happens under this lock.
    catalogue: Mutex<Catalogue>,
}

impl Images {
    /// Opens (or makes) the catalogue under ROOT/images and frees layers that no image and no container uses:
    /// left-overs of imports that were cut short. A damaged record is warned of and not listed.
    pub fn open(root: &Path, snapshots: Arc<dyn Snapshotter>, bounds: Bounds) -> Result<Self, ImageError> {
        let folder = root.join("images");
        store::make_dir(&folder).map_err(failed("make the folder", &folder))?;
        let (usages, left, locks, writer, catalogue) = Default::default();
        let shared = Shared { folder, snapshots, bounds, usages, left, locks, writer, catalogue };
        shared.load()?;
        shared.free_unused(shared.snapshots.chains());
        Ok(Self(Arc::new(shared)))
    }

    /// Imports an OCI layout (folder or tar) or a `docker save` tar, compressed or not. Returns the images of
    /// the file that are in the catalogue now. A failure leaves nothing behind.
    pub fn import(&self, source: &Path, progress: &dyn Fn(Progress)) -> Result<Vec<Arc<Image>>, ImageError> {
        import(&self.0, source, progress)
    }

    /// The image meant by a name with or without tag or digest, by an id with or without `sha256:`, or by the
    /// beginning of one that fits no other.
    /// One whose layers somebody has removed is not there, so that it is pulled again.
    pub fn find(&self, wanted: &str) -> Option<Arc<Image>> {
        let found = self.0.catalogue().find(wanted)?;
        let Some(lost) = found.layers.iter().find(|chain| !self.0.snapshots.has(chain)) else {
            return Some(found);
        };
        tracing::warn!(id = found.id, layer = %lost, "an image's layer is gone; it has to be pulled or imported again");
        None
    }

    /// Every image, with names or without.
    pub fn list(&self) -> Vec<Arc<Image>> {
        self.0.catalogue().list()
    }

    /// Removes an image with all its names; layers that no other image uses are freed. Finds it gone: fine.
    ///
    /// # Errors
    /// [`ImageError::InUse`] while a pin lives.
    pub fn remove(&self, wanted: &str) -> Result<(), ImageError> {
        let Some(image) = self.0.catalogue().find(wanted) else { return Ok(()) };
        self.0.discard(&image)
    }

    /// Frees layers that stayed when their image was removed, since a container stood on them. Costs nothing where
    /// there are none.
    pub fn free_left(&self) {
        if self.0.left.swap(false, Ordering::Relaxed) {
            let chains = self.0.snapshots.chains();
            let unneeded = self.0.catalogue().unneeded(chains);
            self.0.free_unused(unneeded);
        }
    }

    /// What the layers take on the disk, from memory, and whether all of them have been counted.
    pub fn usage(&self) -> (Usage, bool) {
        self.0.usages.of(&self.0.snapshots.chains())
    }

    /// The right to count the layers that have not been; `None`: somebody does.
    pub fn counter(&self) -> Option<Counter> {
        Counter::begin(&self.0)
    }

    /// Keeps an image from being removed while the pin lives; `None`: there is none of this whole id.
    pub fn pin(&self, id: &str) -> Option<ImagePin> {
        let image = self.0.catalogue().pin(id)?;
        Some(ImagePin { image, shared: Arc::clone(&self.0) })
    }
}

impl Images {
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Shared {
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn snapshots(&self) -> &dyn Snapshotter {
        &*self.snapshots
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    pub(super) fn usages(&self) -> &Usages {
        &self.usages
    }

    pub(super) fn locks(&self) -> &ChainLocks {
        &self.locks
    }

    pub(super) fn catalogue(&self) -> MutexGuard<'_, Catalogue> {
        // Each call on the catalogue leaves it sound, so a panic elsewhere does no harm.
        self.catalogue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a layer is there and stays, for somebody who holds it: a removal that began before that is waited
    /// for. Blocking.
    pub(super) fn keeps(&self, chain: &ChainId) -> bool {
        // One that is not there may be in the making, which takes long.
        if !self.snapshots.has(chain) {
            return false;
        }
        let _turn = self.locks.lock(chain);
        self.snapshots.has(chain)
    }

    /// Writes an image's record, takes its tags from whoever bore them, and shows it. The caller holds the layers.
    ///
    /// # Errors
    /// [`SnapshotError::NoLayer`]: one of its layers is not there.
    pub(super) fn enter(&self, mut record: Record) -> Result<Arc<Image>, ImageError> {
        let _writer = self.writer();
        if let Some(lost) = record.layers.iter().find(|chain| !self.keeps(chain)) {
            return Err(SnapshotError::NoLayer(lost.clone()).into());
        }
        if self.catalogue().get(record.id.as_str()).is_some()
            && let Ok(there) = Record::read(&self.folder, &record.id)
        {
            there.repo_tags.into_iter().for_each(|tag| add(&mut record.repo_tags, Some(tag)));
            there.repo_digests.into_iter().for_each(|digest| add(&mut record.repo_digests, Some(digest)));
            record.manifest = record.manifest.or(there.manifest);
        }
        record.repo_tags.sort();
        record.repo_digests.sort();
        self.write(&mut record)?;
        let image = record.image().map_err(failed("read", &Record::path(&self.folder, &record.id)))?;
        steps::reach("image.tags");
        let bearers = self.catalogue().bearers(&record.id, &record.repo_tags);
        let image = self.catalogue().put(image);
        for bearer in bearers {
            self.untag(&bearer, &record.repo_tags)?;
        }
        Ok(image)
    }

    /// Frees those of these layers that nothing needs. What cannot be freed now is left to the next start.
    pub(super) fn free_unused(&self, chains: impl IntoIterator<Item = ChainId>) {
        for chain in chains {
            // Asked first without its lock too: whoever makes it anew may hold that for long.
            if self.catalogue().needs(&chain) {
                continue;
            }
            let _turn = self.locks.lock(&chain);
            if self.catalogue().needs(&chain) {
                continue;
            }
            match self.snapshots.remove(&chain) {
                Ok(()) => {}
                Err(SnapshotError::InUse { chain, key }) => {
                    self.left.store(true, Ordering::Relaxed);
                    tracing::debug!(%chain, container = key, "an unused layer stays while a container stands on it");
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(%chain, error, "an unused layer could not be removed");
                }
            }
        }
    }

    fn load(&self) -> Result<(), ImageError> {
        let mut records = Vec::new();
        for name in store::names(&self.folder).map_err(failed("list", &self.folder))? {
            let id = name.strip_suffix(".json").and_then(|hex| Digest::parse(&format!("sha256:{hex}")));
            let Some(id) = id else {
                if name.ends_with(store::TEMPORARY) {
                    let path = self.folder.join(&name);
                    store::remove_file(&path).map_err(failed("remove", &path))?;
                }
                continue;
            };
            match Record::read(&self.folder, &id) {
                Ok(record) if record.layers.iter().all(|chain| self.snapshots.has(chain)) => {
                    records.push(record)
                }
                Ok(_) => {
                    tracing::warn!(%id, "an image lacks a layer; it is not listed: pull or import it again")
                }
                Err(error) => {
                    tracing::warn!(%id, %error, "an image's record is damaged; it is not listed: pull or import it again")
                }
            }
        }
        // Of two records that bear one tag, the later one has it: the move was cut short.
        records.sort_by_key(|record| std::cmp::Reverse(record.written_at));
        let mut borne = BTreeSet::new();
        for mut record in records {
            record.repo_tags.retain(|tag| borne.insert(tag.clone()));
            let path = Record::path(&self.folder, &record.id);
            self.catalogue().put(record.image().map_err(failed("read", &path))?);
        }
        Ok(())
    }

    fn discard(&self, image: &Image) -> Result<(), ImageError> {
        let writer = self.writer();
        let taken = self.catalogue().take(&image.id);
        taken.map_err(|pins| ImageError::InUse { image: image.id.clone(), pins })?;
        let path = self.folder.join(format!("{}.json", image.id.trim_start_matches("sha256:")));
        match steps::check("image.remove").and_then(|()| store::remove_file(&path)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                self.catalogue().put(image.clone());
                return Err(failed("remove", &path)(error));
            }
            _ => {}
        }
        store::sync_dir(&self.folder).map_err(failed("sync", &self.folder))?;
        drop(writer);
        steps::reach("image.free");
        // The topmost first: should this be cut short, what is left can still be used.
        self.free_unused(image.layers.iter().rev().cloned());
        Ok(())
    }

    fn untag(&self, image: &Image, tags: &[String]) -> Result<(), ImageError> {
        let mut left = image.clone();
        left.repo_tags.retain(|tag| !tags.contains(tag));
        if let Some(id) = Digest::parse(&image.id) {
            let path = Record::path(&self.folder, &id);
            let mut record = Record::read(&self.folder, &id).map_err(failed("read", &path))?;
            record.repo_tags.clone_from(&left.repo_tags);
            // It keeps its time: it is the one that lost.
            record.write(&self.folder).map_err(failed("write", &path))?;
        }
        self.catalogue().put(left);
        Ok(())
    }

    fn write(&self, record: &mut Record) -> Result<(), ImageError> {
        record.written_at = clock::now_nanos();
        record.write(&self.folder).map_err(failed("write", &Record::path(&self.folder, &record.id)))
    }

    fn writer(&self) -> MutexGuard<'_, ()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::Catalogue { what, path, source }
}
