//! What `features` of a runtime says (runtime-spec, features.md).
//!
//! Never: runs it.

use serde::Deserialize;

use crate::limits::RUNTIME_FEATURES_MAX;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Features {
    #[serde(default)]
    mount_options: Vec<String>,
}

/// Whether it takes `rro` for a mount, which needs mount_setattr of Linux 5.12 too: runtimes that know the option
/// fail where the kernel does not.
pub fn knows_recursive_read_only(features: &[u8]) -> bool {
    let bounded = features.get(..RUNTIME_FEATURES_MAX).unwrap_or(features);
    let features: Option<Features> = serde_json::from_slice(bounded).ok();
    features.is_some_and(|features| features.mount_options.iter().any(|option| option == "rro"))
}

#[cfg(test)]
mod tests {
    use super::knows_recursive_read_only;

    #[test]
    fn only_what_is_named_is_there() {
        assert!(knows_recursive_read_only(br#"{"mountOptions":["ro","rro"],"hooks":[]}"#));
        for none in [&br#"{"mountOptions":["ro"]}"#[..], b"{}", b"", b"\xff"] {
            assert!(!knows_recursive_read_only(none));
        }
    }
}
