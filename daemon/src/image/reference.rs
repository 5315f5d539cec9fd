//! Names of images as people write them, brought to one full form: `busybox` is
//! `docker.io/library/busybox:latest`.
//!
//! Owns: the grammar (distribution's `reference`). Never: knows which images there are.

use std::fmt;

use crate::image::{
    Digest,
    limits::{REPOSITORY_MAX, TAG_MAX},
};

/// The registry of names without one.
const DEFAULT_REGISTRY: &str = "docker.io";

/// A name in full.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Registry and path: `docker.io/library/busybox`.
    pub repository: String,
    /// The tag that was written.
    pub tag: Option<String>,
    /// The digest that was written; it says more than the tag.
    pub digest: Option<Digest>,
}

impl Reference {
    /// Reads a name; `None`: it is none. Without tag and digest it means `latest`.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
            None => (text, None),
        };
        // A colon before a slash belongs to the registry's port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return None;
        }
        let repository = repository(name)?;
        let tag = match (tag, &digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Some(Self { repository, tag, digest })
    }

    /// `repository:tag`; `None`: it has only a digest.
    pub fn tagged(&self) -> Option<String> {
        self.tag.as_ref().map(|tag| format!("{}:{tag}", self.repository))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

fn repository(name: &str) -> Option<String> {
    let (registry, path) = match name.split_once('/') {
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => (first, path),
        _ => (DEFAULT_REGISTRY, name),
    };
    let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
    let library = registry == DEFAULT_REGISTRY && !path.contains('/');
    let full = format!("{registry}/{}{path}", if library { "library/" } else { "" });
    let good = is_registry(registry) && path.split('/').all(is_component) && full.len() <= REPOSITORY_MAX;
    good.then_some(full)
}

fn is_registry(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    let label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    host.split('.').all(label) && port.parse::<u16>().is_ok()
}

/// Lower-case letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
fn is_component(text: &str) -> bool {
    let bytes = text.as_bytes();
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut separators = bytes.split(plain).filter(|run| !run.is_empty());
    let joins = |run: &[u8]| matches!(run, b"." | b"_" | b"__") || run.iter().all(|b| *b == b'-');
    bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain) && separators.all(joins)
}

fn is_tag(text: &str) -> bool {
    let bytes = text.as_bytes();
    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    bytes.first().is_some_and(word)
        && bytes.len() <= TAG_MAX
        && bytes.iter().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::Reference;

    fn check(text: &str, full: &str) {
        assert_eq!(Reference::parse(text).map(|r| r.to_string()).as_deref(), Some(full), "{text}");
        assert_eq!(Reference::parse(full).map(|r| r.to_string()).as_deref(), Some(full), "twice: {text}");
    }

    #[test]
    fn names_are_brought_to_one_form() {
        let digest = format!("sha256:{}", "0".repeat(64));
        check("busybox", "docker.io/library/busybox:latest");
        check("busybox:1.36", "docker.io/library/busybox:1.36");
        check("docker.io/busybox", "docker.io/library/busybox:latest");
        check("index.docker.io/library/busybox", "docker.io/library/busybox:latest");
        check("user/app", "docker.io/user/app:latest");
        check("localhost/app", "localhost/app:latest");
        check("localhost:5000/a/b_c:T.1-x", "localhost:5000/a/b_c:T.1-x");
        check("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10");
        check(&format!("busybox@{digest}"), &format!("docker.io/library/busybox@{digest}"));
        check(&format!("a.b/c:t@{digest}"), &format!("a.b/c:t@{digest}"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(256);
        for bad in [
            "",
            ":",
            "@",
            "a:",
            "a:-x",
            "A",
            "a//b",
            "/a",
            "a/",
            "a/../b",
            "../a",
            "a b",
            "a___b",
            "a..b",
            "-a",
            "a@sha256:12",
            "a:b:c",
            "host:99999/a",
            "ho_st.x/a",
            "a\n",
            &long,
        ] {
            assert!(Reference::parse(bad).is_none(), "{bad:?}");
        }
    }
}
