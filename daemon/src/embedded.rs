//! The programs that travel inside the daemon's file, and the sealed memory they are started from.
//!
//! Starting from a sealed memfd means that replacing the daemon's file on disk never touches running or
//! starting shims. Owns: the two programs' bytes. Never: starts them.

use std::{
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::PathBuf,
};

use memfd::{FileSeal, Memfd, MemfdOptions};

use crate::sys::program_text;

/// The shim, static.
pub const SHIM: &[u8] = include_bytes!(env!("TAFFRAIL_SHIM_BIN"));

/// The demo program inside quickstart's image, static.
pub const DEMO: &[u8] = include_bytes!(env!("TAFFRAIL_DEMO_BIN"));

/// The shim's program, ready to be started any number of times.
#[derive(Debug)]
pub struct ShimProgram {
    sealed: Memfd,
}

impl ShimProgram {
    /// Copies the program into sealed memory.
    pub fn load() -> io::Result<Self> {
        let options = MemfdOptions::default().allow_sealing(true).close_on_exec(true);
        let sealed = options.create("taffrail-shim").map_err(io::Error::other)?;
        (&mut sealed.as_file()).write_all(SHIM)?;
        // A megabyte that nobody reads again.
        program_text::forget(SHIM);
        let seals = [FileSeal::SealWrite, FileSeal::SealGrow, FileSeal::SealShrink, FileSeal::SealSeal];
        sealed.add_seals(&seals).map_err(io::Error::other)?;
        Ok(Self { sealed })
    }

    /// The program itself, to be handed to another process.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.sealed.as_file().as_fd()
    }

    /// A path by which this process's children can execute it. (The kernel opens it before it closes what is
    /// close-on-exec, so it works for binaries.)
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.sealed.as_raw_fd()))
    }
}
