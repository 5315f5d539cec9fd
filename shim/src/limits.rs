//! Every size, count and time of the static program, each with its reason.
//!
//! Never: a bound of the log format (`logs::limits`) or one that the daemon shares (`protocol::limits`).

use std::time::Duration;

/// Largest frame on the control socket in bytes, head included. A command line of thousands of arguments fits;
/// what is larger comes from no daemon of ours.
pub(crate) const FRAME_MAX: usize = 2 * 1024 * 1024;

/// Answers that may wait for a slow reader on one connection, in bytes; then it is closed. The reader is the
/// daemon, which asks for little and reads at once.
pub(crate) const OUTBOX_MAX: usize = 256 * 1024;

/// Connections at once: the daemon's, its successor's at an upgrade, and people's.
pub(crate) const CONNECTIONS_MAX: usize = 16;

/// Watches parked on one connection. A daemon needs one.
pub(crate) const WATCHES_MAX: usize = 16;

/// Descriptors that may have arrived on a connection without their message. A carrier sends those of one call.
pub(crate) const DESCRIPTORS_WAITING_MAX: usize = 16;

/// Bytes read from a connection at once. Most messages are far smaller.
pub(crate) const CONTROL_READ: usize = 16 * 1024;

/// Events taken from epoll at once: all of a busy container's, without a large array on the stack.
pub(crate) const EVENTS_MAX: usize = 32;

/// Bytes asked of a stream at first: a page, which is all that most containers write between two pauses.
pub(crate) const FIRST_READ: usize = 4096;

/// Reads of one stream before others get their turn: 256 KiB, so that a flood delays a call by a millisecond or so.
pub(crate) const READS_PER_TURN: u32 = 4;

/// A read that brings less than this, soon after another such one, tells of a program that writes line by line.
pub(crate) const SMALL_READ: usize = 8 * 1024;

/// What "soon" is in that: a program that writes more rarely is not worth waiting for.
pub(crate) const RAPID: Duration = Duration::from_millis(1);

/// How long the shim lets such a program's lines gather in the pipe before it reads them, all at once: a fraction of
/// the CPU time for both, and a stamp that is at most this late. A pipe filled in this time is 320 MB/s, and then the
/// next read waits for nothing.
pub(crate) const GATHER: Duration = Duration::from_micros(200);

/// How long an incomplete line waits for its rest before it is written as a partial record: long enough for a
/// program that writes a line in parts, too short for a person to wait for a prompt.
pub(crate) const TAIL_WAIT: Duration = Duration::from_millis(20);

/// How often it is looked whether the log's file still has a name, while output comes: one call a second.
pub(crate) const LOG_LOOK: Duration = Duration::from_secs(1);

/// How long the data path's memory is kept after the last byte: touching it anew costs a few page faults.
pub(crate) const MEMORY_KEEP: Duration = Duration::from_secs(1);

/// How long output may come after init has ended, where Launch does not say: what is in flight comes in
/// microseconds, a grandchild that holds the stream would hold it for ever.
pub(crate) const DRAIN_DEFAULT: Duration = Duration::from_secs(2);

/// Longest drain that Launch may ask for.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(600);

/// Longest time that a runtime's command may be given: beyond, a hung one would never be reported.
pub(crate) const COMMAND_TIME_MAX: Duration = Duration::from_secs(3600);

/// Arguments of one command line: the runtime's own twenty, and a probe's.
pub(crate) const ARGUMENTS_MAX: usize = 8192;

/// Longest argument in bytes: the kernel's `MAX_ARG_STRLEN`. A probe may be a whole script.
pub(crate) const ARGUMENT_MAX: usize = 128 * 1024;

/// Longest path in bytes: what the kernel takes for a path.
pub(crate) const TEXT_MAX: usize = 4096;

/// Execs at once in one container. Probes run one by one; this bounds descriptors and processes.
pub(crate) const EXECS_MAX: usize = 256;

/// How long a killed command tree may take to be gone before its exec is reported without it: a process in an
/// uninterruptible sleep may never go.
pub(crate) const KILL_GRACE: Duration = Duration::from_secs(2);

/// Pause between two looks at a tree that is being killed and whose end no event tells.
pub(crate) const KILL_AGAIN: Duration = Duration::from_millis(20);

/// Rounds over a tree that forks while it is killed. Each leaves fewer; a frozen or stopped one needs two.
pub(crate) const KILL_ROUNDS: usize = 8;

/// Processes looked at in one tree: the largest `pid_max` would take seconds; the next round goes on.
pub(crate) const TREE_MAX: usize = 65_536;

/// Unknown children that wait to be reaped and are remembered while commands run.
pub(crate) const ORPHANS_MAX: usize = 1024;

/// Bytes read of a pid file. A number and a line feed need eleven.
pub(crate) const PID_FILE_MAX: usize = 32;

/// Bytes read of the end of a runtime's log: its last words are what counts.
pub(crate) const RUNTIME_LOG_MAX: usize = 64 * 1024;

/// Bytes kept of what a runtime's command says on its streams.
pub(crate) const WORDS_MAX: usize = protocol::limits::MESSAGE_MAX;

/// Bytes of a cgroup's counters or process list read at once.
pub(crate) const CGROUP_READ: usize = 64 * 1024;

/// How long after an out-of-memory event its counter is read again: on cgroup v1 the event comes before the kill
/// is counted.
pub(crate) const OOM_LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How often a shim whose keeper is gone looks at processes that were the keeper's children: nothing tells when the
/// kernel knows how one ended. It lasts as long as such a process lives, and few ever do.
pub(crate) const WARD_LOOK: Duration = Duration::from_millis(100);

/// Pause before an exit record that could not be written is tried again. Nobody is told before it is on disk.
pub(crate) const RECORD_RETRY: Duration = Duration::from_secs(1);

/// Daemons connected to one keeper: one, its successor, and people's.
pub(crate) const DAEMONS_MAX: usize = 8;

/// Shims of one keeper: several times what a node runs. Each takes a few descriptors of it, and a list of all must fit
/// into a packet (some 75 bytes each, of the 208 KiB that a socket's buffer has by default).
pub(crate) const SLOTS_MAX: usize = 2048;

/// Descriptors held for one container: a dozen of its own, and three for each exec.
pub(crate) const HELD_MAX: usize = 32 + 3 * EXECS_MAX;

/// Shims that end one after the other before they have taken over, and the container is given up: half of them at
/// once, half with a pause, in all a quarter of a minute. A host without memory or descriptors may have some by then.
pub(crate) const EARLY_DEATHS_MAX: u32 = 10;

/// A shim that has lived so long in a killed one's place is sound, whatever ends it then.
pub(crate) const SOUND_LIFE: Duration = Duration::from_secs(2);

/// Turns of the keeper's loop before it reaps: all that was said by then is heard in one or two, and a listener that
/// cannot be accepted from is always ready.
pub(crate) const DRAIN_TURNS: usize = 64;

/// The first such pause; each is twice the one before.
pub(crate) const EARLY_PAUSE: Duration = Duration::from_millis(500);

/// Pause before connections are accepted again, where no descriptor was left for the last one.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A shim's way to its keeper ends a moment before the shim does, never longer: one that ended earlier was given up.
pub(crate) const CUT_GRACE: Duration = Duration::from_secs(5);

/// Feeds into one container's stdin at once; more would mix anyway.
pub(crate) const FEEDS_MAX: usize = 4;

/// Bytes of stdin taken from a feed before the container has read them.
pub(crate) const FEED_BUFFER: usize = 16 * 1024;

/// Longest outcome of an exec in bytes: one that a pipe takes whole (`PIPE_BUF`), so its reader never sees half.
pub(crate) const OUTCOME_MAX: usize = 4096;

/// Largest order that a pin process reads in bytes: a host name, three paths, settings.
pub(crate) const PIN_ORDER_MAX: usize = 64 * 1024;

const _: () = assert!(DESCRIPTORS_WAITING_MAX >= protocol::limits::DESCRIPTORS_MAX);
const _: () = assert!(CONTROL_READ <= FRAME_MAX && CONTROL_READ <= logs::limits::READ_SIZE);
const _: () = assert!(FEED_BUFFER <= logs::limits::READ_SIZE);
