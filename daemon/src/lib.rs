//! The Taffrail daemon as a library: `main.rs` is a thin shell around it, tests drive its pure parts.
//!
//! `docs/ARCHITECTURE.md` is the map. Owns: the module tree. Never: logic.

pub mod assembly;
pub mod cgroups;
pub mod cli;
pub mod clock;
pub mod config;
pub mod container;
pub mod cri;
pub mod embedded;
pub mod events;
pub mod give_back;
pub mod ids;
pub mod image;
pub mod layout;
pub mod limits;
pub mod network;
pub mod oci;
pub mod operations;
pub mod pod;
pub mod sandbox;
pub mod shims;
pub mod snapshot;
pub mod stats;
pub mod steps;
pub mod store;
pub mod sys;
pub mod systemd;
pub mod tasks;
pub mod tickets;

/// Compares a text with a golden file; `UPDATE_GOLDEN=1` rewrites the file instead.
#[cfg(test)]
pub(crate) fn test_golden(path: &std::path::Path, actual: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        store::make_dir(path.parent().expect("a golden file has a folder")).unwrap();
        store::replace(path, actual.as_bytes()).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(golden, actual, "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
}
