//! Extended headers of a tar archive: `LENGTH KEY=VALUE\n` records (POSIX.1-2001, pax).
//!
//! Owns: their grammar. Never: decides what a value means for a file.

/// What extended headers say of the next entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// It speaks of GNU's sparse files.
    pub(super) sparse: bool,
}

impl Pax {
    /// Adds what these records say; later ones win. An error says what is wrong.
    pub(super) fn add(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or("an extended header has a bad record")?;
            self.set(key, value)?;
            bytes = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        match key {
            b"path" => self.path = text(value),
            b"linkpath" => self.link = text(value),
            b"size" => self.size = number(value, "size")?,
            b"uid" => self.uid = number(value, "uid")?,
            b"gid" => self.gid = number(value, "gid")?,
            b"mtime" => self.mtime = if value.is_empty() { None } else { Some(time(value)?) },
            _ if key.starts_with(b"GNU.sparse.") => self.sparse = true,
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.retain(|(there, _)| there != name);
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// Splits off one record. The length counts itself, and values may hold anything, line ends too.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(10).position(|b| *b == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let body = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|b| *b == b'=')?;
    Some((&body[..equals], &body[equals + 1..], &bytes[length..]))
}

/// An empty value takes back what the header itself says nothing better for.
fn text(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| value.to_vec())
}

fn number(value: &[u8], what: &str) -> Result<Option<u64>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let digits = value.iter().all(u8::is_ascii_digit).then_some(value);
    let parsed = digits.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| d.parse().ok());
    parsed.map(Some).ok_or_else(|| format!("an extended header has a bad {what}"))
}

/// Seconds with an optional fraction, before or after the epoch.
fn time(value: &[u8]) -> Result<(i64, u32), String> {
    let bad = || "an extended header has a bad time".to_owned();
    let text = std::str::from_utf8(value).map_err(|_| bad())?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| bad())?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanos: u32 = digits.parse().map_err(|_| bad())?;
    // -1.25 is a quarter before -1: the kernel wants whole seconds down and nanoseconds up.
    if whole.starts_with('-') && nanos > 0 {
        return Ok((seconds.checked_sub(1).ok_or_else(bad)?, 1_000_000_000 - nanos));
    }
    Ok((seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::Pax;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let body = key.len() + value.len() + 3;
        let length = (body + 1..).find(|n| n.to_string().len() + body == *n).unwrap();
        let mut bytes = format!("{length} {key}=").into_bytes();
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
        bytes
    }

    #[test]
    fn values_may_hold_line_ends() {
        let mut bytes = record("SCHILY.xattr.security.capability", b"a\n13 path=evil\n=");
        bytes.extend(record("path", "ü".as_bytes()));
        bytes.extend(record("mtime", b"-1.25"));
        let mut pax = Pax::default();
        pax.add(&bytes).unwrap();
        assert_eq!(pax.path.as_deref(), Some("ü".as_bytes()));
        assert_eq!(pax.xattrs, [(b"security.capability".to_vec(), b"a\n13 path=evil\n=".to_vec())]);
        assert_eq!(pax.mtime, Some((-2, 750_000_000)));
    }

    #[test]
    fn damaged_records_are_refused() {
        for bad in [
            &b"5 a=b"[..],
            b"99 path=x\n",
            b"x",
            b"0 \n",
            b"6 path\n",
            b"12 size=1e9\n",
            b"11 uid=-1\n",
            b"-5 a=\n",
        ] {
            assert!(Pax::default().add(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
