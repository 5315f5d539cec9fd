//! The unsafe fence: raw system calls and raw descriptors live below here and nowhere else in the daemon.
//!
//! Never: policy.

pub mod fd_socket;
pub mod heap;
pub mod lock;
pub mod mounts;
pub mod netlink;
pub mod netns;
pub mod packets;
pub mod pidfd;
pub mod program_text;
pub mod rootfs;
pub mod tied;
pub mod tree_usage;
pub mod unpack;
