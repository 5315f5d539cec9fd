//! Content digests: sha256, and nothing weaker or unknown.
//!
//! Owns: reading, computing and chaining digests. Never: reads a file.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::snapshot::ChainId;

const PREFIX: &str = "sha256:";

/// `sha256:` and 64 lower-case hexadecimal digits. What is held has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// Checks a text.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix(PREFIX)?;
        let good = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        good.then(|| Self(text.to_owned()))
    }

    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hexadecimal digits, fit for a file name.
    pub fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    /// The chain id of a layer with this diff id over `below` (OCI image-spec, "Layer ChainID").
    pub fn over(&self, below: Option<&ChainId>) -> ChainId {
        let text = match below {
            None => self.0.clone(),
            Some(below) => Self::of(format!("{below} {self}").as_bytes()).0,
        };
        ChainId::parse(&text).expect("every sha256 digest is a chain id")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is no sha256 digest"))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// Computes a digest piece by piece.
#[derive(Debug, Clone, Default)]
pub(super) struct Hasher(Sha256);

impl Hasher {
    /// Takes the next piece.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces so far.
    pub(super) fn finish(&self) -> Digest {
        let mut text = String::from(PREFIX);
        for byte in self.0.clone().finalize() {
            text.push(char::from_digit(u32::from(byte >> 4), 16).expect("four bits"));
            text.push(char::from_digit(u32::from(byte & 15), 16).expect("four bits"));
        }
        Digest(text)
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn only_whole_lower_case_sha256_is_taken() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), format!("sha256:{hex}"));
        for bad in
            ["", hex, "sha256:", "sha256:../../x", &format!("sha512:{hex}"), &format!("sha256:{}0", hex)]
        {
            assert!(Digest::parse(bad).is_none(), "{bad}");
        }
        assert!(Digest::parse(&format!("sha256:{}", hex.to_uppercase())).is_none());
    }

    #[test]
    fn chain_ids_follow_the_specification() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let bottom = a.over(None);
        assert_eq!(bottom.as_str(), a.as_str());
        let expected = Digest::of(format!("{a} {b}").as_bytes());
        assert_eq!(b.over(Some(&bottom)).as_str(), expected.as_str());
    }
}
