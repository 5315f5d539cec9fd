//! From the number in a pid file to a child that is ours beyond doubt.
//!
//! Owns: the checks. Never: believes a number.

use std::{fs::File, io::Read, os::fd::OwnedFd, path::Path};

use nix::errno::Errno;

use super::tree;
use crate::{
    fault::{Because, Fault},
    limits::PID_FILE_MAX,
    steps,
    sys::{pidfd::PidFd, process::Child},
};

/// Whose children a command leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// This shim's.
    Ours,
    /// The keeper's, since the shim that began the command was killed.
    Keepers,
}

impl Whose {
    /// Of this command's.
    pub(crate) fn of(command: &PidFd) -> Self {
        if command.is_ward() { Self::Keepers } else { Self::Ours }
    }
}

/// The process that a runtime wrote down. It may have ended already; then it waits to be reaped. `ward` makes one of
/// the keeper's children.
pub(crate) fn adopt(
    pid_file: &Path,
    whose: Whose,
    is_known: impl Fn(i32) -> bool,
    ward: impl FnOnce(OwnedFd) -> PidFd,
) -> Result<Child, Fault> {
    steps::check("supervise.adopt")?;
    let pid = read(pid_file)?;
    if is_known(pid) {
        return Err(Fault::new(format!(
            "the runtime names process {pid}, which is another one of this container"
        )));
    }
    let process = PidFd::open(pid).because(|| format!("the runtime names process {pid}"))?;
    let no_child = || Fault::new(format!("the runtime names process {pid}, which is no child of ours"));
    match (whose, process.peek()) {
        (Whose::Ours, Ok(_)) => Ok(Child { process, pid }),
        // It may have been left to us before, or to the keeper, who is our parent.
        (Whose::Keepers, Ok(_)) => Ok(Child { process, pid }),
        (Whose::Keepers, Err(Errno::ECHILD)) if tree::is_sibling(pid) => {
            Ok(Child { process: ward(process.into()), pid })
        }
        (_, Err(Errno::ECHILD)) => Err(no_child()),
        (_, Err(errno)) => Err(Fault::new(format!("the runtime names process {pid}: {}", errno.desc()))),
    }
}

fn read(path: &Path) -> Result<i32, Fault> {
    let shown = || format!("the runtime's pid file {} cannot be read", path.display());
    let mut text = Vec::new();
    let file = File::open(path).because(shown)?;
    let most = u64::try_from(PID_FILE_MAX).unwrap_or(u64::MAX);
    file.take(most + 1).read_to_end(&mut text).because(shown)?;
    let number = std::str::from_utf8(&text).ok().filter(|_| text.len() <= PID_FILE_MAX);
    match number.and_then(|text| text.trim().parse::<i32>().ok()) {
        Some(pid) if pid > 1 => Ok(pid),
        _ => Err(Fault::new(format!("the runtime's pid file {} holds no process id", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, process::Command};

    use super::{Child, Fault, PidFd, Whose, adopt};

    fn ours(file: &std::path::Path, is_known: impl Fn(i32) -> bool) -> Result<Child, Fault> {
        adopt(file, Whose::Ours, is_known, PidFd::of)
    }

    fn file(text: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        file
    }

    #[test]
    fn garbage_is_no_process() {
        for text in
            [&b""[..], b"abc", b"-1", b"0", b"1", b"99999999999999", b"12 13", &[0xff; 40], &[b'1'; 40]]
        {
            assert!(ours(file(text).path(), |_| false).is_err());
        }
        assert!(ours("/nonexistent".as_ref(), |_| false).is_err());
    }

    #[test]
    fn only_an_own_unknown_child_is_adopted() {
        let mut child = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let own = file(format!("{}\n", child.id()).as_bytes());
        let adopted = ours(own.path(), |_| false).unwrap();
        assert_eq!(adopted.process.peek(), Ok(None));
        assert!(ours(own.path(), |_| true).is_err());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(ours(own.path(), |_| false).is_err(), "it is gone");
        let parent = file(std::os::unix::process::parent_id().to_string().as_bytes());
        assert!(ours(parent.path(), |_| false).is_err(), "not a child");
    }
}
