//! Every bound of the daemon, each with its reason.
//!
//! Owns: numbers. Never: logic.

use std::time::Duration;

/// Largest state file read, in bytes: a pod spec is at most 1 MiB in etcd, and JSON may double it.
pub const STATE_FILE_MAX: u64 = 8 << 20;

/// Room that is kept on the disk for a container's exit record, in bytes: one block; most records have some hundred.
pub const EXIT_RECORD_ROOM: usize = 4096;

/// Largest gRPC message, both ways, in bytes: what the kubelet's own client allows; tonic's default is 4 MiB.
pub const GRPC_MESSAGE_MAX: usize = 16 << 20;

/// Messages that may wait in an owner's inbox. A handful of callers per container is usual; a sender waits.
pub const INBOX: usize = 64;

/// Blocking file-system work at a time; more only queues in the kernel.
pub const DISK_POOL: usize = 16;

/// Looks at the host's paths that pods ask for, at a time. Each may hang for as long as a network file system does; then
/// a thread sleeps, which costs little, and nothing else waits for it.
pub const FOREIGN_POOL: usize = 64;

/// How long such a look may take: well below the kubelet's two minutes.
pub const FOREIGN: Duration = Duration::from_secs(20);

/// Runtime commands (delete) at a time: each is a Go program that takes a core for some milliseconds.
pub const RUNTIME_POOL: usize = 8;

/// Image imports at a time.
pub const IMPORT_POOL: usize = 2;

/// Layers from registries that are unpacked at a time; `image` lets no more of them begin.
pub const UNPACK_POOL: usize = 12;

/// ExecSync output kept per stream, in bytes; the rest is read and thrown away (CVE-2022-1708).
pub const EXEC_OUTPUT_MAX: usize = 16 << 20;

/// Both streams of an ExecSync together, so that the answer stays below [`GRPC_MESSAGE_MAX`].
pub const EXEC_ANSWER_MAX: usize = GRPC_MESSAGE_MAX - 4096;

/// ExecSync calls at a time per daemon: each holds up to 2 x 16 MiB.
pub const EXEC_SYNC_POOL: usize = 64;

/// Arguments of an ExecSync; below what a shim takes with the runtime's own.
pub const EXEC_ARGUMENTS_MAX: usize = 8000;

/// Longest argument of an ExecSync in bytes: the kernel's `MAX_ARG_STRLEN`, with its zero.
pub const EXEC_ARGUMENT_MAX: usize = (128 << 10) - 1;

/// All arguments of an ExecSync together, in bytes: within one frame to the shim.
pub const EXEC_COMMAND_MAX: usize = 1 << 20;

/// ExecSync calls at a time in one container, so that one that never ends does not use up those of all others.
pub const EXECS_PER_CONTAINER: usize = 16;

/// How long an ExecSync without a timeout waits for its turn.
pub const EXEC_TURN: Duration = Duration::from_secs(60);

/// Labels, and annotations, of one object together, in bytes. Kubernetes allows 256 KiB; an answer to List has to
/// hold those of many.
pub const LABELS_MAX: usize = 512 << 10;

/// Arguments, and environment, of one container together, in bytes: what the kernel takes with a usual stack.
pub const TEXTS_MAX: usize = 2 << 20;

/// How long ExecSync reads on after the command ended while a grandchild holds the pipes (containerd #2823).
pub const EXEC_DRAIN: Duration = Duration::from_millis(200);

/// How long the daemon waits for a shim's word past an exec's own deadline, before it calls the shim stuck.
pub const EXEC_SHIM_GRACE: Duration = Duration::from_secs(10);

/// How long a shim may take for an answer that needs no runtime (Hello, Signal, ReopenLog). Loaded hosts have
/// seen 5 s passed by healthy shims (containerd #3355); no container is killed when this passes.
pub const SHIM_ANSWER: Duration = Duration::from_secs(10);

/// How long a shim may take for Hello while the daemon starts. One that is late is asked again later.
pub const SHIM_RECOVER: Duration = Duration::from_secs(2);

/// While the daemon starts: how long after the last shim's answer it waits for those that are still silent. Shims that only
/// have to wait for a processor come one after the other; one that hangs holds up the rest no longer than this.
pub const RECOVER_QUIET: Duration = Duration::from_millis(300);

/// Between two attempts to reach a shim that holds its lock but does not answer.
/// A second: one that is then killed, and has no keeper, is reported lost within two.
pub const SHIM_RETRY: Duration = Duration::from_secs(1);

/// Without an event of a pod or a container for this long, the heap gives free pages back: no more than once for each burst.
pub const QUIET: Duration = Duration::from_secs(3);

/// How long the keeper may take for an answer; it never waits for anything itself. Past it, it is stuck, and another
/// one is started: what it holds is held by the shims too.
pub const KEEPER_ANSWER: Duration = Duration::from_secs(5);

/// How long a keeper may be silent while a shim is so too, before it is killed: it may be the one that holds a dead shim's
/// lock, and what it holds for that one is lost with it. A host that swaps may well need more than one answer's time.
pub const KEEPER_PATIENCE: Duration = Duration::from_secs(15);

/// How often a runtime's commands without shim and keeper are looked for: each look finds what the killed ones had
/// started meanwhile.
pub const ORPHAN_LOOKS: u32 = 8;

/// How long such a command may take to end at SIGKILL.
pub const ORPHAN_ENDS: Duration = Duration::from_secs(1);

/// How often it is looked whether an ended process is reaped, by whoever is its parent.
pub const REAPED_LOOK: Duration = Duration::from_millis(5);

/// Pause before another keeper is started where that failed.
pub const KEEPER_RETRY: Duration = Duration::from_secs(1);

/// How often a shim that answers is brought to a new keeper where that fails, and the pause between: longer than a moment
/// without memory or descriptors. A silent one is asked for as long as it is silent.
pub const HAND_OVER_TRIES: u32 = 3;

/// See [`HAND_OVER_TRIES`].
pub const HAND_OVER_AGAIN: Duration = Duration::from_secs(1);

/// Shims brought to a new keeper at a time.
pub const HAND_OVER_POOL: usize = 16;

/// How often the lock of a shim that leaves is looked at, with [`LEAVING_LOOK`] between: two seconds, then it is
/// taken for one that does not leave.
pub const LEAVING_LOOKS: usize = 100;

/// See [`LEAVING_LOOKS`].
pub const LEAVING_LOOK: Duration = Duration::from_millis(20);

/// How often a start that lost its shim looks for the one in its place, with [`REPLACED_LOOK`] between.
pub const REPLACED_LOOKS: usize = 20;

/// Shims of one start that may be killed before the start fails: with it the pod's, not the node's, patience ends.
pub const LAUNCHES_MORE: usize = 8;

/// Another shim is in place within some milliseconds.
pub const REPLACED_LOOK: Duration = Duration::from_millis(50);

/// How long a runtime's create or start may take before it is killed. A loaded host needs seconds; a hung
/// runtime must not outlive the kubelet's own two minutes.
pub const RUNTIME_COMMAND: Duration = Duration::from_secs(60);

/// How long a runtime's update may take: it writes some files of a cgroup.
pub const RUNTIME_UPDATE: Duration = Duration::from_secs(30);

/// How long a runtime's delete may take.
pub const RUNTIME_DELETE: Duration = Duration::from_secs(30);

/// How long a runtime may take to say what it can do; it reads nothing for that.
pub const RUNTIME_FEATURES: Duration = Duration::from_secs(5);

/// How much of that answer is read, in bytes: runc's has some six thousand.
pub const RUNTIME_FEATURES_MAX: usize = 1 << 20;

/// How much of a runtime's stderr is kept for an error message, in bytes.
pub const RUNTIME_STDERR_MAX: usize = 4096;

/// After SIGKILL: how long until a container that is still there is reported as one that cannot be killed.
pub const KILL_WAIT: Duration = Duration::from_secs(10);

/// Longest grace period taken from a request, in seconds: a day; beyond it is a mistake in units.
pub const GRACE_MAX: i64 = 86_400;

/// On SIGTERM: how long calls in flight may go on. The whole stop must end within 5 s.
pub const SHUTDOWN_DRAIN: Duration = Duration::from_secs(3);

/// Longest name, namespace, uid, handler or label key taken from a request, in bytes. Kubernetes' own are at
/// most 253 and 317.
pub const NAME_MAX: usize = 512;

/// Longest path taken from a request, in bytes: the kernel's PATH_MAX.
pub const PATH_MAX: usize = 4096;

/// Most mounts, environment entries or arguments of one container.
pub const LIST_MAX: usize = 65_536;

/// Largest /etc/passwd and /etc/group read from an image, in bytes: those of large sites are some hundred KiB.
pub const ACCOUNTS_MAX: u64 = 10 << 20;

/// Largest seccomp profile read from the host, in bytes: a long one is some ten KiB.
pub const SECCOMP_PROFILE_MAX: u64 = 1 << 20;

/// Most device nodes of one container: a host with many disks has some hundred.
pub const DEVICES_MAX: usize = 4096;

/// Most volumes that an image may declare.
pub const VOLUMES_MAX: usize = 256;

/// How long the end of a pod's init process may take after SIGKILL: it has nothing to finish.
pub const INIT_LEAVES: Duration = Duration::from_secs(5);

/// How long a program of systemd may take: a bus call and a job on a busy node; each has a deadline of its own below.
pub const SYSTEMD: Duration = Duration::from_secs(15);

/// Words of such a program that are kept, in bytes.
pub const SYSTEMD_WORDS: u64 = 4096;

/// How long the pin program may take to make a pod's namespaces.
pub const PIN: Duration = Duration::from_secs(20);

/// Output of a CNI plugin or of nft that is read, in bytes: a result with hundreds of addresses and routes has less.
pub const PLUGIN_OUTPUT_MAX: usize = 1 << 20;

/// Beginning of their stderr that is kept for an error message, in bytes.
pub const PLUGIN_STDERR_MAX: usize = 4096;

/// How long a chain's DEL may take, and its CHECK. One that hangs is tried again at the next stop.
pub const CNI_DEL: Duration = Duration::from_secs(60);

/// How long a chain's GC at start may take: no pod can be attached meanwhile, and the kubelet comes at once.
pub const CNI_GC: Duration = Duration::from_secs(2);

/// How long plugins may take to tell their status.
pub const CNI_STATUS: Duration = Duration::from_secs(10);

/// How old their word may be before they are asked again: the kubelet asks us every 5 s.
pub const CNI_STATUS_AGE: Duration = Duration::from_secs(10);

/// How long one change of the firewall may take: nft waits for other transactions of the kernel only.
pub const FIREWALL: Duration = Duration::from_secs(20);

/// Work on links and addresses at a time: the kernel does it one by one.
pub const NETWORK_POOL: usize = 8;

/// Walks over trees of unknown size at a time: each keeps a disk busy, and nobody waits for one.
pub const WALK_POOL: usize = 2;

/// Most port mappings of one pod.
pub const PORTS_MAX: usize = 4096;

/// Most sysctls of one pod, and all of them together in bytes: they are one order to the pin program.
pub const SYSCTLS_MAX: usize = 256;
/// See [`SYSCTLS_MAX`].
pub const SYSCTLS_BYTES_MAX: usize = 32 << 10;

/// Shims made ahead: one start finds its shim ready and in its cgroup, the next is made in the background.
pub const STANDBY_SHIMS: usize = 2;

/// How long such a shim may take to leave when the daemon ends.
pub const STANDBY_LEAVES: Duration = Duration::from_millis(500);

/// How long a step may take before `taffrail status` lists it: an ordinary one takes milliseconds, on a loaded host a
/// second or two.
pub const STUCK: Duration = Duration::from_secs(5);

/// How long a call may take whose caller set no deadline, beside its own grace period or timeout: more than twice the
/// kubelet's two minutes, and than the longest procedure's own bounds. The work goes on after that; the caller may ask
/// again.
pub const CALL: Duration = Duration::from_secs(300);

/// Things that were done with one object and are kept for `taffrail explain`: a life of one container has some
/// twenty steps.
pub const PAST_PER_OBJECT: usize = 64;

/// Objects that are gone and whose past is kept: some minutes of a busy node.
pub const PAST_GONE: usize = 128;

const _: () = assert!(EXEC_ANSWER_MAX < GRPC_MESSAGE_MAX);
const _: () = assert!(SHIM_RECOVER.as_millis() < SHIM_ANSWER.as_millis());
