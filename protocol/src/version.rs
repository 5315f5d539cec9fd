//! What each version of the wire added, and how two sides agree on one.
//!
//! Owns: the version numbers and feature names. Never: a branch on the version; that is the callers'.

/// Lowest version that this build speaks.
pub const LOWEST: u32 = 1;
/// Highest version that this build speaks. 1: the first.
pub const HIGHEST: u32 = 1;

/// Lowest version of the keeper's wire that this build speaks.
pub const KEEPER_LOWEST: u32 = 1;
/// Highest version of the keeper's wire that this build speaks. 1: the first.
pub const KEEPER_HIGHEST: u32 = 1;

/// Feature name: the peer can pass and take descriptors. Always there; named so that the list is never empty.
pub const FEATURE_DESCRIPTORS: &str = "descriptors";

/// Feature name: the shim can be given a keeper (the call Keep).
pub const FEATURE_KEEPER: &str = "keeper";

/// The version both sides will speak: the highest that both know, or `None` where the ranges do not meet.
pub fn agree(ours: (u32, u32), theirs: (u32, u32)) -> Option<u32> {
    let highest = ours.1.min(theirs.1);
    let lowest = ours.0.max(theirs.0);
    (lowest <= highest && lowest > 0).then_some(highest)
}

#[cfg(test)]
mod tests {
    use super::agree;

    #[test]
    fn the_highest_common_version_wins() {
        assert_eq!(agree((1, 3), (2, 5)), Some(3));
        assert_eq!(agree((1, 1), (1, 9)), Some(1));
    }

    #[test]
    fn ranges_that_do_not_meet_are_refused() {
        assert_eq!(agree((1, 2), (3, 4)), None);
        assert_eq!(agree((0, 0), (0, 0)), None);
    }
}
