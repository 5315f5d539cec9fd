//! New ids, and what a user means by the beginning of one.
//!
//! Owns: randomness and prefixes. Never: which ids there are.

use rustix::rand::{GetRandomFlags, getrandom};

/// Random bytes in an id; two digits each make the 64 that the kubelet's tools expect.
const BYTES: usize = 32;

/// A new id of 64 hexadecimal digits.
pub fn new_id() -> String {
    let mut bytes = [0u8; BYTES];
    let mut filled = 0;
    while filled < BYTES {
        // Up to 256 bytes come whole; only a signal before the pool is ready interrupts.
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty()).unwrap_or(0);
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// More than one id begins so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wanted:?} is the beginning of {count} ids, {first} and {second} among them; give more of it")]
pub struct Ambiguous {
    wanted: String,
    count: usize,
    first: String,
    second: String,
}

/// The id that is this text, or the only one that begins with it.
pub fn resolve<'a>(ids: impl Iterator<Item = &'a str>, wanted: &str) -> Result<Option<&'a str>, Ambiguous> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let mut found: Vec<&str> = ids.filter(|id| id.starts_with(wanted)).collect();
    if let Some(exact) = found.iter().find(|id| **id == wanted) {
        return Ok(Some(exact));
    }
    found.sort_unstable();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        [first, second, ..] => Err(Ambiguous {
            wanted: wanted.to_owned(),
            count: found.len(),
            first: (*first).to_owned(),
            second: (*second).to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{new_id, resolve};

    #[test]
    fn ids_are_64_digits_and_differ() {
        let (a, b) = (new_id(), new_id());
        assert_eq!(a.len(), 64);
        assert_ne!(a, b);
    }

    #[test]
    fn unique_prefixes_resolve() {
        let ids = ["abc", "abd", "x"];
        assert_eq!(resolve(ids.into_iter(), "x"), Ok(Some("x")));
        assert_eq!(resolve(ids.into_iter(), "abc"), Ok(Some("abc")));
        assert!(resolve(ids.into_iter(), "ab").is_err());
        assert_eq!(resolve(ids.into_iter(), ""), Ok(None));
        assert_eq!(resolve(ids.into_iter(), "q"), Ok(None));
    }
}
