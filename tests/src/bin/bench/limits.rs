//! How often and how much is measured, each with its reason.
//!
//! Never: a goal; those are the promises.

use std::time::Duration;

/// Pods for each median of a latency: enough that one bad neighbour does not show.
pub(crate) const PODS: usize = 15;
/// Execs in each of these pods.
pub(crate) const EXECS: usize = 5;
/// Callers at once where throughput is measured, and what they make together.
pub(crate) const CALLERS: usize = 10;
pub(crate) const PARALLEL_PODS: usize = 30;
pub(crate) const PARALLEL_EXECS: usize = 100;
/// Containers whose supervisors are weighed: what the promise says.
pub(crate) const CONTAINERS: usize = 50;
/// Rounds of each log measurement, in turn.
pub(crate) const ROUNDS: usize = 3;
/// What a container writes in one round: seconds of work, and well below a small machine's memory, where it lies.
pub(crate) const FLOOD: u64 = 512 << 20;
/// The same with a write for each line, which is slower.
pub(crate) const DRIP: u64 = 128 << 20;
/// Length of a flood's line.
pub(crate) const LINE: u64 = 100;
/// How long the fast wait for a log's end may take.
pub(crate) const LOG_DEADLINE: Duration = Duration::from_secs(300);
/// Layers of the image that is pulled, and bytes of each before they are packed: what the promise says.
pub(crate) const PULL_LAYERS: usize = 5;
pub(crate) const PULL_LAYER_BYTES: usize = 40_000_000;
/// Pulls of each side, in turn.
pub(crate) const PULL_ROUNDS: usize = 5;
/// Room for both stores, and the floor's files beside them.
pub(crate) const PULL_STORE_BYTES: u64 = 2 << 30;
/// In which wake-ups are counted.
pub(crate) const QUIET: Duration = Duration::from_secs(10);
/// How long supervisors may settle before that.
pub(crate) const SETTLE: Duration = Duration::from_secs(5);
/// How much of a log's end is looked at for its last line.
pub(crate) const TAIL: u64 = 4096;

/// How often the CNI plugins are called by themselves.
pub(crate) const FLOOR_ROUNDS: usize = 20;

/// Pods beside which a pod's cost is measured: the promise's two counts.
pub(crate) const FEW: usize = 10;
pub(crate) const MANY: usize = 500;
/// Lists for each median.
pub(crate) const LISTS: usize = 50;
