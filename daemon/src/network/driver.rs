//! What a network has to be able to do for pods: the seam between the built-in bridge and CNI.
//!
//! Never: knows either.

use std::{fmt, future::Future, path::PathBuf, pin::Pin};

use super::{NetworkError, Record, Subnet};
use crate::sandbox::SandboxConfig;

/// Work that waits.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T, NetworkError>> + Send + 'a>>;

/// A pod as a network sees it.
#[derive(Debug, Clone)]
pub struct Pod<'a> {
    /// The sandbox's id.
    pub id: &'a str,
    /// Pin of its network namespace.
    pub netns: PathBuf,
    /// What was asked for.
    pub config: &'a SandboxConfig,
}

/// Why no pod can be attached now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReady {
    /// One word, for programs.
    pub reason: &'static str,
    /// For people: what is wrong, and the cure.
    pub message: String,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A kind of network.
pub trait Network: fmt::Debug + Send + Sync {
    /// Its name in records.
    fn name(&self) -> &'static str;

    /// Whether something of an attachment outlives a reboot, so that its record must.
    fn outlives_reboot(&self) -> bool;

    /// Whether the host is set up for it. The first driver that is wanted is used.
    fn is_wanted(&self) -> bool;

    /// Whether pods can be attached now; if so, what is not as it could be. Answers at once.
    fn ready(&self) -> Result<String, NotReady>;

    /// Decides all that has to be remembered before anything is made: addresses and the driver's own part.
    fn plan(&self, pod: &Pod<'_>) -> Result<Record, NetworkError>;

    /// Makes what the plan says, and completes the record.
    fn attach<'a>(&'a self, pod: &'a Pod<'a>, record: &'a mut Record) -> Work<'a, ()>;

    /// Takes apart whatever there is of it. Finds nothing: fine.
    fn detach<'a>(&'a self, id: &'a str, netns: PathBuf, record: &'a Record) -> Work<'a, ()>;

    /// Lets go of what only memory holds for a pod: its record is gone.
    fn forget(&self, id: &str);

    /// Takes note of an attachment found on disk at start.
    fn adopt(&self, id: &str, record: &Record);

    /// Called once at start when all records have been looked for; nobody waits for it. `complete`: each could be read,
    /// so that what no record speaks of belongs to nobody.
    fn recovered(&self, complete: bool) -> Work<'_, ()>;

    /// The node's pod ranges, as the kubelet tells them.
    fn set_ranges(&self, ranges: &[Subnet]);

    /// The daemon ends and there is no pod left: takes away what was made for all of them.
    fn leave(&self) -> Work<'_, ()>;
}
