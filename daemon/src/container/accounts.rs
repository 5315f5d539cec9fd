//! The forms of /etc/passwd and /etc/group (passwd(5), group(5)), read line by line.
//!
//! An image's files are hostile: a line that is damaged is no line. Never: opens a file.

use std::io::{self, BufRead};

/// One user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// Its name.
    pub(super) name: String,
    /// Its id.
    pub(super) uid: u32,
    /// Its first group.
    pub(super) gid: u32,
    /// Its home folder; `None`: none that can be used.
    pub(super) home: Option<String>,
}

/// Reads all whole lines; what is not UTF-8 or holds a zero byte is passed over.
fn lines(mut from: impl BufRead, mut see: impl FnMut(&str) -> bool) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if from.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let Ok(text) = std::str::from_utf8(&line) else { continue };
        let text = text.trim_end_matches(['\n', '\r']);
        let plain = !text.contains(char::is_control) && !text.starts_with('#');
        if plain && see(text) {
            return Ok(());
        }
    }
}

/// An id as the kernel takes one: the highest number means "leave it as it is".
fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}

fn account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let (uid, gid) = (fields.nth(1).and_then(id)?, fields.next().and_then(id)?);
    let home = fields.nth(1).filter(|home| home.starts_with('/')).map(str::to_owned);
    Some(Account { name, uid, gid, home })
}

/// The first user that fits.
pub(super) fn find_account(
    passwd: impl BufRead,
    fits: impl Fn(&Account) -> bool,
) -> io::Result<Option<Account>> {
    let mut found = None;
    lines(passwd, |line| {
        found = account(line).filter(|account| fits(account));
        found.is_some()
    })?;
    Ok(found)
}

/// Name, id, members.
fn group(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let gid = fields.nth(1).and_then(id)?;
    Some((name, gid, fields.next().unwrap_or_default()))
}

/// The id of a group.
pub(super) fn find_group(groups: impl BufRead, name: &str) -> io::Result<Option<u32>> {
    let mut found = None;
    lines(groups, |line| {
        found = group(line).filter(|(known, ..)| *known == name).map(|(_, gid, _)| gid);
        found.is_some()
    })?;
    Ok(found)
}

/// The ids of all groups that name this user as a member.
pub(super) fn groups_of(groups: impl BufRead, user: &str) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    lines(groups, |line| {
        let member =
            |(_, gid, members): (&str, u32, &str)| members.split(',').any(|m| m == user).then_some(gid);
        found.extend(group(line).and_then(member));
        false
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{find_account, find_group, groups_of};

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\nhalf:x:5\n\xff\xfe:x:1:1::/:\n# web:x:9:9::/:\nweb:x:7:8:Web:/srv:/bin/false\r\nweb:x:9:9::/other:\nbig:x:4294967295:0::/:\nneg:x:-1:0::/:\nrel:x:11:12::home:\nlast:x:13:14";

    #[test]
    fn users_are_found_and_damaged_lines_are_none() {
        let by_name = |name: &str| find_account(PASSWD, |account| account.name == name).unwrap();
        let web = by_name("web").unwrap();
        assert_eq!((web.uid, web.gid, web.home.as_deref()), (7, 8, Some("/srv")));
        for none in ["half", "big", "neg", "# web", ""] {
            assert_eq!(by_name(none), None, "{none}");
        }
        assert_eq!(by_name("rel").unwrap().home, None);
        assert_eq!(by_name("last").unwrap().gid, 14);
        assert_eq!(find_account(PASSWD, |account| account.uid == 0).unwrap().unwrap().name, "root");
    }

    #[test]
    fn groups_are_found_by_name_and_by_member() {
        let groups = b"root:x:0:\nstaff:x:50:web,root\nweb:x:8\nodd:x:web:web\nmore:x:51:x,web\n";
        assert_eq!(find_group(&groups[..], "staff").unwrap(), Some(50));
        assert_eq!(find_group(&groups[..], "odd").unwrap(), None);
        assert_eq!(groups_of(&groups[..], "web").unwrap(), [50, 51]);
        assert!(groups_of(&groups[..], "we").unwrap().is_empty());
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config {
            cases: 256, failure_persistence: None, ..Default::default()
        })]

        #[test]
        fn whatever_stands_there_is_a_plain_user_or_none(
            noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400),
            lines in "([a-z0x:,\\-\n]{0,20}:){0,40}",
        ) {
            for text in [&noise[..], lines.as_bytes()] {
                find_group(text, "x").unwrap();
                groups_of(text, "x").unwrap();
                if let Some(account) = find_account(text, |_| true).unwrap() {
                    let odd = |text: &str| text.contains(|c: char| c.is_control() || c == ':');
                    assert!(!account.name.is_empty() && !odd(&account.name) && account.uid != u32::MAX);
                    assert!(account.home.is_none_or(|home| home.starts_with('/') && !odd(&home)));
                }
            }
        }
    }
}
