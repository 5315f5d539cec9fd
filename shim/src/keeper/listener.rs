//! The keeper's socket, at which later daemons find it.
//!
//! Owns: its making. Never: accepts.

use std::{
    fs::{File, Permissions},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixListener},
    },
};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, listen, socket};
use protocol::keeperdir::KeeperDir;

use super::make_way;
use crate::fault::{Because, Fault};

/// Binds it, in place of what an earlier keeper left.
pub(crate) fn bind(dir: &KeeperDir) -> Result<UnixListener, Fault> {
    let failed = || format!("the keeper's socket {} cannot be made", dir.socket().display());
    let folder = File::open(dir.path()).because(failed)?;
    // sun_path holds 108 bytes; through the descriptor the path is always short.
    let short = format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), KeeperDir::SOCKET);
    // An earlier one's socket too: nobody listens there any more.
    make_way(&dir.socket(), |_| false).because(failed)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let made: OwnedFd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).because(failed)?;
    let address = UnixAddr::new(short.as_str()).because(failed)?;
    nix::sys::socket::bind(made.as_raw_fd(), &address).because(failed)?;
    std::fs::set_permissions(&short, Permissions::from_mode(0o600)).because(failed)?;
    listen(&made, Backlog::new(DAEMONS).because(failed)?).because(failed)?;
    Ok(UnixListener::from(made))
}

/// Daemons that may wait to be accepted: one and its successor.
const DAEMONS: i32 = 4;
