//! Which images there are, in memory: what lists, finds, pins and counts the uses of layers.
//!
//! Owns: the mirror of the records on disk. Never: touches the disk, so whoever asks never waits for it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    image::{Digest, Image, Reference, limits::ID_PREFIX_MIN},
    snapshot::ChainId,
};

/// One image and how many hold it.
#[derive(Debug)]
struct Entry {
    image: Arc<Image>,
    pins: usize,
}

/// The images, and the layers that imports under way count on.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    images: BTreeMap<String, Entry>,
    held: HashMap<ChainId, usize>,
}

impl Catalogue {
    /// Every image, by id.
    pub(super) fn list(&self) -> Vec<Arc<Image>> {
        self.images.values().map(|entry| Arc::clone(&entry.image)).collect()
    }

    /// The image of this whole id.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Image>> {
        self.images.get(id).map(|entry| Arc::clone(&entry.image))
    }

    /// The image meant by a name, a digest, an id or the beginning of one that fits no other.
    pub(super) fn find(&self, wanted: &str) -> Option<Arc<Image>> {
        if wanted.len() == 64
            && let Some(image) = self.get(&format!("sha256:{wanted}"))
        {
            return Some(image);
        }
        self.get(wanted).or_else(|| self.by_name(wanted)).or_else(|| self.by_prefix(wanted))
    }

    /// Puts an image in, or a newer state of it; who holds it goes on holding it.
    pub(super) fn put(&mut self, image: Image) -> Arc<Image> {
        let image = Arc::new(image);
        let entry = Entry { image: Arc::clone(&image), pins: 0 };
        let entry = self.images.entry(image.id.clone()).or_insert(entry);
        entry.image = Arc::clone(&image);
        image
    }

    /// Takes an image out; an error says how many hold it. Finds it gone: fine.
    pub(super) fn take(&mut self, id: &str) -> Result<(), usize> {
        match self.images.get(id) {
            Some(entry) if entry.pins > 0 => Err(entry.pins),
            _ => {
                self.images.remove(id);
                Ok(())
            }
        }
    }

    /// Counts one more who holds it; `None`: there is no such image.
    pub(super) fn pin(&mut self, id: &str) -> Option<Arc<Image>> {
        let entry = self.images.get_mut(id)?;
        entry.pins += 1;
        Some(Arc::clone(&entry.image))
    }

    /// Counts one less.
    pub(super) fn unpin(&mut self, id: &str) {
        if let Some(entry) = self.images.get_mut(id) {
            entry.pins = entry.pins.saturating_sub(1);
        }
    }

    /// An import counts on these layers from now on.
    pub(super) fn hold(&mut self, chains: &BTreeSet<ChainId>) {
        for chain in chains {
            *self.held.entry(chain.clone()).or_default() += 1;
        }
    }

    /// It counts on them no longer.
    pub(super) fn let_go(&mut self, chains: &BTreeSet<ChainId>) {
        for chain in chains {
            if let Some(count) = self.held.get_mut(chain) {
                *count -= 1;
            }
        }
        self.held.retain(|_, count| *count > 0);
    }

    /// Whether an image or an import needs this layer.
    pub(super) fn needs(&self, chain: &ChainId) -> bool {
        self.held.contains_key(chain) || self.images.values().any(|entry| entry.image.layers.contains(chain))
    }

    /// Those of these layers that neither an image nor an import needs.
    pub(super) fn unneeded(&self, chains: Vec<ChainId>) -> Vec<ChainId> {
        let needed: BTreeSet<&ChainId> =
            self.images.values().flat_map(|entry| &entry.image.layers).chain(self.held.keys()).collect();
        chains.into_iter().filter(|chain| !needed.contains(chain)).collect()
    }

    fn by_name(&self, wanted: &str) -> Option<Arc<Image>> {
        let name = Reference::parse(wanted)?;
        let mut images = self.images.values().map(|entry| &entry.image);
        // A digest says more than a tag beside it.
        let found = match (&name.digest, name.tagged()) {
            (Some(digest), _) => {
                let wanted = format!("{}@{digest}", name.repository);
                images.find(|image| image.repo_digests.contains(&wanted))
            }
            (None, Some(tagged)) => images.find(|image| image.repo_tags.contains(&tagged)),
            (None, None) => None,
        };
        found.map(Arc::clone)
    }

    fn by_prefix(&self, wanted: &str) -> Option<Arc<Image>> {
        let hex = wanted.strip_prefix("sha256:").unwrap_or(wanted);
        let digits = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() < ID_PREFIX_MIN || !digits {
            return None;
        }
        let whole = format!("sha256:{hex}");
        let mut fitting = self.images.range(whole.clone()..).take_while(|(id, _)| id.starts_with(&whole));
        match (fitting.next(), fitting.next()) {
            (Some((_, entry)), None) => Some(Arc::clone(&entry.image)),
            _ => None,
        }
    }

    /// Images other than `id` that bear one of these tags.
    pub(super) fn bearers(&self, id: &Digest, tags: &[String]) -> Vec<Arc<Image>> {
        let bears = |image: &Arc<Image>| {
            image.id != id.as_str() && image.repo_tags.iter().any(|tag| tags.contains(tag))
        };
        self.list().into_iter().filter(bears).collect()
    }
}
