//! SIGTERM and SIGINT as a future.
//!
//! Never: what they lead to.

use std::os::unix::net::UnixStream as StdStream;

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    low_level::pipe,
};
use tokio::{io::AsyncReadExt, net::UnixStream};

use super::exit::Failure;

/// Ends at the first of them. Must be called inside the executor.
pub(super) fn signal() -> Result<impl Future<Output = ()>, Failure> {
    let failed = |e: std::io::Error| Failure::failed(format!("signals cannot be watched: {e}"));
    let (read, write) = StdStream::pair().map_err(failed)?;
    for number in [SIGTERM, SIGINT] {
        pipe::register(number, write.try_clone().map_err(failed)?).map_err(failed)?;
    }
    read.set_nonblocking(true).map_err(failed)?;
    let mut read = UnixStream::from_std(read).map_err(failed)?;
    Ok(async move {
        let mut byte = [0];
        drop(read.read(&mut byte).await);
    })
}
