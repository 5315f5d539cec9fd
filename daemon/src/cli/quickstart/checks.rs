//! What quickstart looks at: the log, line by line, and what is left at the end.
//!
//! Never: believes the daemon about itself.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::super::exit::Failure;

/// How long any step of the story may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Looks until it is so.
pub(super) async fn wait_for(
    what: &str,
    mut look: impl FnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let began = Instant::now();
    while !look()? {
        if began.elapsed() > PATIENCE {
            return Err(Failure::failed(format!("{what} did not come within {PATIENCE:?}")));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// A container's log.
pub(super) struct Log(PathBuf);

impl Log {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn lines(&self) -> Result<Vec<String>, Failure> {
        let text = fs::read_to_string(&self.0)
            .map_err(|e| Failure::failed(format!("{} cannot be read: {e}", self.0.display())))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Every line from 1 on is there once, in order; how many.
    pub(super) fn check_complete(&self) -> Result<usize, Failure> {
        let lines = self.lines()?;
        for (index, line) in lines.iter().enumerate() {
            let wanted = format!("stdout F line {}", index + 1);
            if line.split_once(' ').map(|(_, rest)| rest) != Some(wanted.as_str()) {
                return Err(Failure::failed(format!(
                    "log line {}: {line:?} instead of {wanted:?}",
                    index + 1
                )));
            }
        }
        Ok(lines.len())
    }
}

/// Whether a container's exit record is on disk.
pub(super) fn has_ended(folder: &Path, container: &str) -> bool {
    folder.join("root/containers").join(container).join("exit").exists()
}

/// Removes the folder when nothing is mounted below it.
pub(super) fn remove_folder(folder: &Path) -> Result<(), Failure> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let prefix = folder.to_string_lossy();
    let left: Vec<&str> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|place| place.starts_with(prefix.as_ref()))
        .collect();
    if !left.is_empty() {
        return Err(Failure::failed(format!("mounts are left: {}", left.join(", "))));
    }
    fs::remove_dir_all(folder)
        .map_err(|e| Failure::failed(format!("{} cannot be removed: {e}", folder.display())))
}
