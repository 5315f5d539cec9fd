//! Images that the operator wants to stay: the kubelet's garbage collection leaves them alone.
//!
//! Never: keeps anybody from removing one by name.

use crate::image::{Image, Reference};

/// Names and patterns: a whole name, `beginning*`, or `*part*`.
#[derive(Debug, Clone, Default)]
pub struct PinnedNames(Vec<String>);

impl PinnedNames {
    /// Whole names are brought to their full form.
    pub fn new(names: &[String]) -> Self {
        let full = |name: &String| match Reference::parse(name) {
            Some(reference) => reference.to_string(),
            None => name.clone(),
        };
        Self(names.iter().map(full).collect())
    }

    /// Whether one of an image's names is among them.
    pub fn has(&self, image: &Image) -> bool {
        image.repo_tags.iter().chain(&image.repo_digests).any(|name| self.0.iter().any(|p| fits(p, name)))
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(rest), Some(_)) => name.contains(rest.trim_end_matches('*')),
        (None, Some(beginning)) => name.starts_with(beginning),
        (Some(end), None) => name.ends_with(end),
        (None, None) => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns_are_whole_beginnings_or_parts() {
        for (pattern, yes, no) in [
            ("a.io/b:1", "a.io/b:1", "a.io/b:12"),
            ("a.io/*", "a.io/b:1", "xa.io/b:1"),
            ("*cni*", "a.io/cni-x:1", "a.io/cn:1"),
            ("*:1", "a:1", "a:11"),
        ] {
            assert!(fits(pattern, yes) && !fits(pattern, no), "{pattern}");
        }
    }
}
