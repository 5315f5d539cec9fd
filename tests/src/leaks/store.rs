//! Whether the layer store is whole: each layer has its record, each record its layer, and nothing is half written.
//!
//! Never: judges a record that a test has damaged.

use std::{collections::BTreeSet, fs, path::Path};

use super::Counts;

/// What is wrong with the store below a daemon's root.
pub(super) fn faults(root: &Path) -> Counts {
    let snapshots = root.join("snapshots");
    let mut found = Counts::new();
    let mut fault = |what: String| *found.entry(what).or_default() += 1;
    for place in [root.to_owned(), root.join("images"), snapshots.join("chains")] {
        for name in names(&place).into_iter().filter(|name| name.ends_with(".new")) {
            fault(format!("half written: {}", place.join(name).display()));
        }
    }
    let chains = snapshots.join("chains");
    let mut recorded = BTreeSet::new();
    for name in names(&chains) {
        let record = fs::read(chains.join(&name)).unwrap_or_default();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap_or_default();
        // A damaged one may be any layer's.
        let Some(number) = record["folder"].as_u64() else { return found };
        recorded.insert(number.to_string());
    }
    let layers = names(&snapshots.join("layers"));
    for layer in layers.symmetric_difference(&recorded) {
        let what =
            if recorded.contains(layer) { "record without its layer" } else { "layer without a record" };
        fault(format!("{what}: {layer}"));
    }
    found
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
