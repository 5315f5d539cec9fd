//! Every deadline and size of the harness, each with its reason.
//!
//! Never: a bound that is a promise of the product; those stand in the test that checks them.

use std::time::Duration;

/// How long anything that must happen may take before a test fails. Generous: two cores are shared with other
/// tests, and a deadline here is no promise.
pub const SOON: Duration = Duration::from_secs(20);

/// How long the daemon may take from its start to its socket.
pub const SERVING: Duration = Duration::from_secs(20);

/// SIGTERM to exit: the daemon promises five seconds; a second more for a busy machine.
pub const STOPPING: Duration = Duration::from_secs(6);

/// How long a kubelet may take for something: it looks at its pods each second or ten, and backs off for ten.
pub const KUBELET: Duration = Duration::from_secs(90);

/// How often a condition is looked at: short beside any deadline, long beside the cost of a look.
pub const LOOK: Duration = Duration::from_millis(10);

/// Largest answer the kubelet's own client takes.
pub const MESSAGE_MAX: usize = 16 << 20;

/// How long one gRPC call may take before the client gives it up: the kubelet's own two minutes.
pub const CALL: Duration = Duration::from_secs(120);

/// Shims that a daemon makes ahead.
pub const STANDBY: usize = 2;

/// Lines of the daemon's log that are shown when a test fails.
pub const LOG_TAIL: usize = 60;

/// How deep cgroups are searched: instance, pod, container, exec and two more.
pub const CGROUP_DEPTH: usize = 6;
