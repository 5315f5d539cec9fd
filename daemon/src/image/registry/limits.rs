//! Bounds on what registries may do to us, each with its reason.
//!
//! Owns: numbers. Never: logic.

use std::time::Duration;

/// How long a connection may take, TLS apart: farther than any place on earth.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// Requests made for one thing where an answer stands still: each costs the whole wait.
pub(super) const TRIES_STALLED: u32 = 3;

/// A body that trickles is as bad as one that stands still (containerd#11650): over this time of waiting...
pub(super) const RATE_WINDOW: Duration = Duration::from_secs(60);
/// ...at least so many bytes must come: 8 KiB a second, what a line of one megabit gives each of twelve layers.
pub(super) const RATE_BYTES: u64 = 480 << 10;
/// A large layer must come faster, so that none takes longer than this: its place is wanted by others.
pub(super) const LAYER_TIME: Duration = Duration::from_hours(24);

/// Requests made for one thing, the first included, while the registry is busy or breaks off.
pub(super) const TRIES: u32 = 5;

/// The same where nobody listens: the kubelet asks again by itself, and a mirror that is down has a successor.
pub(super) const TRIES_REFUSED: u32 = 2;

/// Before the second try; each further one waits twice as long.
pub(super) const BACK_OFF: Duration = Duration::from_millis(200);

/// Longest wait that a registry's Retry-After is granted.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Times that one blob is gone on with after it broke off, in all: a bad line, not a wall.
pub(super) const RESUMES: u32 = 40;

/// Bytes after which a broken-off blob's tries count anew: it makes headway.
pub(super) const HEADWAY: u64 = 64 << 10;

/// Redirects followed for one request: real ones take one, to a store.
pub(super) const REDIRECTS: usize = 5;

/// Tokens asked for in one request's course: one, and one more where it had run out.
pub(super) const TOKENS: u32 = 2;

/// Largest answer of a token server, in bytes: real ones have some KiB.
pub(super) const TOKEN_MAX: u64 = 1 << 20;

/// Bytes read of an error's body: enough for what a registry has to say.
pub(super) const ERROR_MAX: u64 = 64 << 10;

/// Characters of it that are shown.
pub(super) const ERROR_SHOWN: usize = 300;

/// Largest registries.conf and largest certificate read, in bytes.
pub(super) const FILE_MAX: u64 = 1 << 20;

/// Files read of one folder of drop-ins or certificates.
pub(super) const FILES_MAX: usize = 1000;

/// Longest header of an answer that is looked into, in bytes.
pub(super) const HEADER_MAX: usize = 8 << 10;

const _: () = assert!(TRIES_REFUSED <= TRIES);
