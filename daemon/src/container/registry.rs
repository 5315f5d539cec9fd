//! All containers by id and by name.
//!
//! Owns: the two maps, derived and in memory only. Never: holds its lock across a wait.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    Adopted, Container, ContainerError, ContainerFacts, ContainerName, NewContainer, Parts, Resources, User,
    View, lifecycle::State,
};
use crate::ids;

type Key = (String, ContainerName);

#[derive(Debug, Default)]
struct Maps {
    by_id: HashMap<String, Container>,
    by_name: HashMap<Key, String>,
}

/// The registry.
#[derive(Debug, Clone)]
pub struct Containers {
    parts: Arc<Parts>,
    /// Protects the maps alone; sections of a few lines.
    maps: Arc<Mutex<Maps>>,
}

fn key(facts: &ContainerFacts) -> Key {
    (facts.sandbox_id.clone(), facts.config.name.clone())
}

impl Containers {
    /// An empty registry.
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), maps: Arc::default() }
    }

    fn maps(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What they are made of.
    pub fn parts(&self) -> &Arc<Parts> {
        &self.parts
    }

    /// The keeper's process id and the containers that it keeps a shim for; `None`: there is none that answers.
    pub async fn kept(&self) -> Option<(i32, BTreeSet<String>)> {
        self.parts.shims.kept().await
    }

    /// Creates a container, or joins the one of this name that is being made or was made from the same wish.
    pub async fn create(&self, new: NewContainer) -> Result<Container, ContainerError> {
        self.parts.handlers.get(&new.facts.runtime)?;
        while let Some(leaving) = self.leaving(&key(&new.facts)) {
            leaving.remove().await?;
        }
        let container = self.find_or_make(new)?;
        container.await_created().await?;
        Ok(container)
    }

    /// The one of this name that is being removed: its end is near, then the name is free.
    fn leaving(&self, key: &Key) -> Option<Container> {
        let maps = self.maps();
        let there = maps.by_name.get(key).and_then(|id| maps.by_id.get(id))?;
        (there.view().state == State::Reclaiming).then(|| there.clone())
    }

    fn find_or_make(&self, new: NewContainer) -> Result<Container, ContainerError> {
        let mut maps = self.maps();
        if let Some(there) = maps.by_name.get(&key(&new.facts)).and_then(|id| maps.by_id.get(id)) {
            // The result of an earlier try is the id, however far the container has come since.
            if there.facts.config == new.facts.config {
                return Ok(there.clone());
            }
            return Err(ContainerError::NameTaken {
                name: new.facts.config.name.name.clone(),
                attempt: new.facts.config.name.attempt,
                id: there.facts.id.clone(),
            });
        }
        let (facts, work) = new.split();
        let view = View::new(facts.config.resources.clone(), User::default());
        Ok(self.insert(&mut maps, facts, Adopted::New(work), view))
    }

    fn insert(&self, maps: &mut Maps, facts: ContainerFacts, adopted: Adopted, view: View) -> Container {
        let (id, key) = (facts.id.clone(), key(&facts));
        // What is only there to be reclaimed has no name any more: a retry makes its own.
        self.parts.operations.introduce_container(&id, &key.1.name, &key.0);
        let named = !matches!(adopted, Adopted::HalfMade);
        let container = Container::spawn(facts, adopted, view, self.parts.clone(), self.clone());
        if named {
            maps.by_name.insert(key, id.clone());
        }
        maps.by_id.insert(id, container.clone());
        container
    }

    /// Takes in a container found on disk at start, with the limits that count and its user.
    pub fn adopt(
        &self,
        facts: ContainerFacts,
        adopted: Adopted,
        resources: Resources,
        user: User,
    ) -> Container {
        let mut maps = self.maps();
        self.insert(&mut maps, facts, adopted, View::new(resources, user))
    }

    /// Lets the name be used again; what is half-made goes on being reclaimed by its id.
    pub(super) fn free_name(&self, facts: &ContainerFacts) {
        let mut maps = self.maps();
        if maps.by_name.get(&key(facts)) == Some(&facts.id) {
            maps.by_name.remove(&key(facts));
        }
    }

    /// Forgets one that is gone.
    pub(super) fn forget(&self, facts: &ContainerFacts) {
        self.free_name(facts);
        self.maps().by_id.remove(&facts.id);
        self.parts.operations.forget(&facts.id);
    }

    /// The container of an id or of a unique beginning of one; only those that have been made whole.
    pub fn find(&self, wanted: &str) -> Result<Option<Container>, ContainerError> {
        let maps = self.maps();
        let visible = maps.by_id.values().filter(|c| c.view().visible).map(|c| c.facts.id.as_str());
        Ok(ids::resolve(visible, wanted)?.and_then(|id| maps.by_id.get(id).cloned()))
    }

    /// As [`Self::find`], where it must be there.
    pub fn get(&self, wanted: &str) -> Result<Container, ContainerError> {
        self.find(wanted)?.ok_or_else(|| ContainerError::NotFound(wanted.to_owned()))
    }

    /// All that have been made whole, with their views.
    pub fn list(&self) -> Vec<(Container, View)> {
        let all: Vec<Container> = self.maps().by_id.values().cloned().collect();
        let viewed = all.into_iter().map(|container| {
            let view = container.view();
            (container, view)
        });
        viewed.filter(|(_, view)| view.visible).collect()
    }

    /// The container of this whole id, half-made ones included.
    pub fn by_id(&self, id: &str) -> Option<Container> {
        self.maps().by_id.get(id).cloned()
    }

    /// All of a sandbox, half-made ones included.
    pub fn of_sandbox(&self, sandbox_id: &str) -> Vec<Container> {
        self.maps().by_id.values().filter(|c| c.facts.sandbox_id == sandbox_id).cloned().collect()
    }
}
