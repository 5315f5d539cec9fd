//! What is kept of an object: its names, and a ring of the last things that were done with it.
//!
//! Owns: the bounds of that memory. Never: what is true of an object now.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use crate::limits::{PAST_GONE, PAST_PER_OBJECT};

/// One thing that was done, or that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it began, in nanoseconds since the epoch.
    pub at: i64,
    /// The procedure, such as `start`; empty: it happened.
    pub operation: &'static str,
    /// The step; empty: the procedure as a whole.
    pub step: String,
    /// How long it took.
    pub took: Duration,
}

/// The last things, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// At most [`PAST_PER_OBJECT`].
    pub entries: VecDeque<Entry>,
    /// How many were forgotten because there were more.
    pub forgotten: u64,
}

impl Past {
    pub(super) fn add(&mut self, entry: Entry) {
        if self.entries.len() == PAST_PER_OBJECT {
            self.entries.pop_front();
            self.forgotten += 1;
        }
        self.entries.push_back(entry);
    }
}

/// A pod, a container or an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    /// As it is called in messages: `pod namespace/name`, `container name of pod namespace/name`.
    pub label: String,
    /// The pod of a container; else empty.
    pub pod: String,
    /// What a person may call it: its name, and that with what it is in before it.
    pub names: Vec<String>,
    /// It has been removed.
    pub is_gone: bool,
    /// Its past.
    pub past: Past,
}

impl Object {
    /// A pod whose facts cannot be read.
    pub(super) fn unknown_pod(id: &str) -> Self {
        Self { label: format!("pod {id}"), ..Self::default() }
    }

    /// Whether a person may mean it: by the beginning of its id, or by a name.
    pub fn is_called(&self, id: &str, wanted: &str) -> bool {
        id.starts_with(wanted) || self.names.iter().any(|name| name == wanted)
    }
}

/// All objects by id; those that are gone are kept for a while.
#[derive(Debug, Default)]
pub(super) struct Kept {
    by_id: HashMap<String, Object>,
    /// Oldest first; at most [`PAST_GONE`].
    gone: VecDeque<String>,
}

impl Kept {
    /// A new object, or one that was found at start.
    pub(super) fn introduce(&mut self, id: &str, object: Object) {
        self.by_id.insert(id.to_owned(), object);
    }

    /// It is gone: what is known of it is kept until too many others have gone after it.
    pub(super) fn forget(&mut self, id: &str) {
        match self.by_id.get_mut(id) {
            Some(object) if !object.is_gone => object.is_gone = true,
            _ => return,
        }
        if self.gone.len() == PAST_GONE
            && let Some(oldest) = self.gone.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        self.gone.push_back(id.to_owned());
    }

    pub(super) fn get(&self, id: &str) -> Option<&Object> {
        self.by_id.get(id)
    }

    pub(super) fn add(&mut self, id: &str, entry: Entry) {
        // What was never introduced (an image) has no past.
        if let Some(object) = self.by_id.get_mut(id) {
            object.past.add(entry);
        }
    }

    /// Ids and objects, those that are gone included.
    pub(super) fn all(&self) -> impl Iterator<Item = (&String, &Object)> {
        self.by_id.iter()
    }
}
