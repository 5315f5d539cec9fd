//! Imports of lawful images in every form, their names, their removal; hostile ones are in `hostile`.
//!
//! Never: needs a mount or the network.

pub(crate) mod build;
mod forms;
mod hostile;
mod names;
mod noise;
mod whiteouts;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Image, ImageError, Images, unpack::Bounds};
use crate::snapshot::{PlainCopy, Snapshotter};

/// A root with its catalogue; the folder goes with it.
struct Place {
    folder: tempfile::TempDir,
    images: Images,
    snapshots: Arc<dyn Snapshotter>,
}

impl Place {
    fn new() -> Self {
        Self::bounded(Bounds::default())
    }

    fn bounded(bounds: Bounds) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (images, snapshots) = open(folder.path(), bounds);
        Self { folder, images, snapshots }
    }

    /// What the next daemon sees.
    fn reopen(&mut self) {
        (self.images, self.snapshots) = open(self.folder.path(), Bounds::default());
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn import(&self, source: &Path) -> Result<Vec<Arc<Image>>, ImageError> {
        self.images.import(source, &|_| {})
    }

    /// Every path below ROOT.
    fn files(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut folders = vec![self.root()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if fs::symlink_metadata(&path).unwrap().is_dir() {
                    folders.push(path.clone());
                }
                found.insert(path);
            }
        }
        found
    }

    /// The folder of an image's `height`th layer.
    fn layer(&self, image: &Image, height: usize) -> PathBuf {
        let record =
            self.root().join("snapshots/chains").join(format!("{}.json", image.layers[height].hex()));
        let record: serde_json::Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
        self.root().join("snapshots/layers").join(record["folder"].to_string())
    }
}

fn open(folder: &Path, bounds: Bounds) -> (Images, Arc<dyn Snapshotter>) {
    let root = folder.join("root");
    let snapshots: Arc<dyn Snapshotter> = Arc::new(PlainCopy::open(&root).unwrap());
    (Images::open(&root, Arc::clone(&snapshots), bounds).unwrap(), snapshots)
}

/// An error with all its sources, as people see it.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text += &format!(": {inner}");
        source = inner.source();
    }
    text
}
