//! The right to count what layers take on the disk.
//!
//! Owns: that one counts at a time, so that whoever asks often starts no crowd. Never: waits for another.

use std::sync::Arc;

use crate::image::images::Shared;

/// The right to count layers, which one has at a time.
#[derive(Debug)]
pub struct Counter(Arc<Shared>);

impl Counter {
    /// `None`: somebody has it.
    pub(super) fn begin(shared: &Arc<Shared>) -> Option<Self> {
        shared.usages().begin().then(|| Self(Arc::clone(shared)))
    }

    /// Counts the layers that have not been. Blocking, for as long as the layers are large.
    pub fn count(self) {
        self.0.usages().count(self.0.snapshots());
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.0.usages().end();
    }
}
