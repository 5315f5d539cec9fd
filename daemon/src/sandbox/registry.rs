//! All sandboxes by id and by name.
//!
//! Owns: the two maps, derived and in memory only. Never: holds its lock across a wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::ids::SandboxId;

use super::{
    FACTS_VERSION, Parts, Sandbox, SandboxConfig, SandboxError, SandboxFacts, SandboxName, lifecycle::State,
};
use crate::{clock::now_nanos, ids, network::Networks};

#[derive(Debug, Default)]
struct Maps {
    by_id: HashMap<String, Sandbox>,
    by_name: HashMap<SandboxName, String>,
}

/// The registry.
#[derive(Debug, Clone)]
pub struct Sandboxes {
    parts: Arc<Parts>,
    /// Protects the maps alone; sections of a few lines.
    maps: Arc<Mutex<Maps>>,
}

impl Sandboxes {
    /// An empty registry.
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), maps: Arc::default() }
    }

    fn maps(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a sandbox, or joins the one of this name that is being run or was run from the same wish.
    pub async fn run(&self, config: SandboxConfig) -> Result<Sandbox, SandboxError> {
        self.parts.handlers.resolve(&config.handler)?;
        while let Some(leaving) = self.leaving(&config.name) {
            leaving.remove().await?;
        }
        let sandbox = self.find_or_make(config)?;
        sandbox.await_ready().await?;
        Ok(sandbox)
    }

    /// The one of this name that is being removed: its end is near, then the name is free.
    fn leaving(&self, name: &SandboxName) -> Option<Sandbox> {
        let maps = self.maps();
        let there = maps.by_name.get(name).and_then(|id| maps.by_id.get(id))?;
        (there.state() == State::Reclaiming).then(|| there.clone())
    }

    fn find_or_make(&self, config: SandboxConfig) -> Result<Sandbox, SandboxError> {
        let mut maps = self.maps();
        if let Some(there) = maps.by_name.get(&config.name).and_then(|id| maps.by_id.get(id)) {
            if there.facts.config == config {
                return Ok(there.clone());
            }
            return Err(SandboxError::NameTaken { name: config.name, id: there.facts.id.clone() });
        }
        let facts = SandboxFacts {
            version: FACTS_VERSION,
            id: ids::new_id(),
            config,
            created_at: now_nanos(),
            boot_id: self.parts.boot_id.clone(),
        };
        Ok(self.insert(&mut maps, facts, State::Creating))
    }

    fn insert(&self, maps: &mut Maps, facts: SandboxFacts, state: State) -> Sandbox {
        let (id, name) = (facts.id.clone(), facts.config.name.clone());
        self.parts.operations.introduce_pod(&id, &name.namespace, &name.name);
        let sandbox = Sandbox::spawn(facts, state, self.parts.clone(), self.clone());
        // What is only there to be reclaimed has no name any more: a retry makes its own.
        if state != State::Reclaiming {
            maps.by_name.insert(name, id.clone());
        }
        maps.by_id.insert(id, sandbox.clone());
        sandbox
    }

    /// The networks, and the addresses of each sandbox.
    pub fn networks(&self) -> &Networks {
        &self.parts.networks
    }

    /// Takes in a sandbox found on disk at start.
    pub fn adopt(&self, facts: SandboxFacts, state: State) -> Sandbox {
        // Before its owner may begin to stop it, and before another pod is given its address.
        if let Ok(id) = SandboxId::parse(&facts.id) {
            self.parts.networks.adopt(&id);
        }
        let mut maps = self.maps();
        self.insert(&mut maps, facts, state)
    }

    /// Lets the name be used again; what is half-made goes on being reclaimed by its id.
    pub(super) fn free_name(&self, facts: &SandboxFacts) {
        let mut maps = self.maps();
        if maps.by_name.get(&facts.config.name) == Some(&facts.id) {
            maps.by_name.remove(&facts.config.name);
        }
    }

    /// Forgets one that is gone.
    pub(super) fn forget(&self, facts: &SandboxFacts) {
        self.free_name(facts);
        self.maps().by_id.remove(&facts.id);
        self.parts.operations.forget(&facts.id);
    }

    /// The sandbox of an id or of a unique beginning of one; only those that have been made whole.
    pub fn find(&self, wanted: &str) -> Result<Option<Sandbox>, SandboxError> {
        let maps = self.maps();
        let visible = maps.by_id.values().filter(|s| s.is_visible()).map(|s| s.facts.id.as_str());
        Ok(ids::resolve(visible, wanted)?.and_then(|id| maps.by_id.get(id).cloned()))
    }

    /// As [`Self::find`], where it must be there.
    pub fn get(&self, wanted: &str) -> Result<Sandbox, SandboxError> {
        self.find(wanted)?.ok_or_else(|| SandboxError::NotFound(wanted.to_owned()))
    }

    /// The sandbox of this whole id, half-made ones included.
    pub fn by_id(&self, id: &str) -> Option<Sandbox> {
        self.maps().by_id.get(id).cloned()
    }

    /// All that have been made whole.
    pub fn list(&self) -> Vec<Sandbox> {
        self.maps().by_id.values().filter(|sandbox| sandbox.is_visible()).cloned().collect()
    }

    /// Whether nothing is there, half-made ones included.
    pub fn is_empty(&self) -> bool {
        self.maps().by_id.is_empty()
    }
}
