//! A disk of a test's own: an ext4 in a file, mounted through a loop device, whose power can be cut.
//!
//! Owns: the file and the mount; both go with the value, whatever became of the test. Never: touches another disk.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    eventually::eventually,
    host,
    limits::SOON,
    sys::{Shutdown, shutdown},
};

/// Where the file is, if there is memory for it: a cut loses what was not written, not what a slow disk has not got yet.
const MEMORY: &str = "/dev/shm";

/// Longest time between two of the journal's own writes, in seconds: the kernel's least, so that half-done work reaches the
/// disk too.
const COMMIT_SECONDS: u32 = 1;

/// The disk.
#[derive(Debug)]
pub struct Disk {
    folder: TempDir,
    at: Option<PathBuf>,
}

impl Disk {
    /// Makes one of this size; `None`: this host cannot, the test is skipped.
    pub fn make(bytes: u64) -> Option<Self> {
        Self::make_with(bytes, &[])
    }

    /// The same with more options for mke2fs.
    pub fn make_with(bytes: u64, options: &[&str]) -> Option<Self> {
        let missing = ["mke2fs", "e2fsck", "losetup"].into_iter().find(|name| host::find(name).is_none());
        if let Some(name) = missing {
            host::skip("loop", &format!("no {name} here"));
            return None;
        }
        if !Path::new("/dev/loop-control").exists() {
            host::skip("loop", "no loop devices here");
            return None;
        }
        let below = if Path::new(MEMORY).is_dir() { MEMORY } else { "/tmp" };
        let folder = tempfile::Builder::new().prefix("tt-disk.").tempdir_in(below).expect("a folder");
        let disk = Self { folder, at: None };
        let file = File::create(disk.file()).expect("the folder can be written");
        file.set_len(bytes).expect("the file is sparse");
        disk.run("mke2fs", &[&["-q", "-t", "ext4"], options].concat());
        Some(disk)
    }

    /// Mounts it, with more options.
    pub fn mount(&mut self, at: &Path, options: &str) {
        fs::create_dir_all(at).expect("the folder can be made");
        let words = ["-t", "ext4", "-o", &format!("loop,commit={COMMIT_SECONDS},{options}")];
        let done = Command::new("mount").args(words).arg(self.file()).arg(at).output();
        let done = done.expect("mount can be run");
        assert!(done.status.success(), "mount: {}", String::from_utf8_lossy(&done.stderr));
        self.at = Some(at.to_owned());
    }

    /// Lets nothing be written any more (`ro`), or again (`rw`). Nobody may have a file open for writing.
    pub fn remount(&self, how: &str) {
        let at = self.at.as_ref().expect("it is mounted");
        let done = Command::new("mount").args(["-o", &format!("remount,bind,{how}")]).arg(at).output();
        let done = done.expect("mount can be run");
        assert!(done.status.success(), "mount: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Cuts its power: what is not on it is lost, and every further write fails.
    pub fn cut(&self, how: Shutdown) {
        let at = self.at.as_ref().expect("it is mounted");
        shutdown(at, how).unwrap_or_else(|e| panic!("the power of {}: {e}", at.display()));
    }

    /// Writes everything that is waiting; an error means that the power was cut.
    pub fn sync(&self) -> bool {
        let at = self.at.as_ref().expect("it is mounted");
        File::open(at).is_ok_and(|folder| rustix::fs::syncfs(folder).is_ok())
    }

    /// Unmounts it, waits until nobody has it any more, and checks it as a boot does.
    pub fn unmount(&mut self) {
        if let Some(at) = self.at.take() {
            // Whoever swept the test's folder may have done it.
            nix::mount::umount2(&at, nix::mount::MntFlags::MNT_DETACH).ok();
        }
        eventually(SOON, "the end of the loop device", || (!self.is_attached()).then_some(()));
        self.run("e2fsck", &["-p"]);
    }

    fn is_attached(&self) -> bool {
        let output = Command::new("losetup").arg("-j").arg(self.file()).output();
        output.is_ok_and(|output| !output.stdout.is_empty())
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Runs a program on the file. 1 is e2fsck's word for a mended one.
    fn run(&self, program: &str, words: &[&str]) {
        let path = host::find(program).expect("it was looked for");
        let done = Command::new(path).args(words).arg(self.file()).output().expect("it can be run");
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(matches!(done.status.code(), Some(0 | 1)), "{program}: {}\n{said}", done.status);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(at) = self.at.take() {
            // The loop device goes with its last user.
            nix::mount::umount2(&at, nix::mount::MntFlags::MNT_DETACH).ok();
        }
    }
}
