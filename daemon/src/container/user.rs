//! Who the first process is: the request's user and groups, the image's own wish, and what the image's
//! /etc/passwd and /etc/group say about them.
//!
//! Owns: which of them counts. Never: leaves the root file system; a file that is no plain file is an error.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufReader},
};

use super::{
    GroupsPolicy, Security, User,
    accounts::{Account, find_account, find_group, groups_of},
};
use crate::{limits::ACCOUNTS_MAX, sys::rootfs::RootFs};

const PASSWD: &str = "etc/passwd";
const GROUP: &str = "etc/group";

/// Why there is no such user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Neither a number nor a name.
    #[error("{0:?} is neither the number nor the name of a user or group (numbers go to {max})", max = i32::MAX)]
    Malformed(String),
    /// A name that the image does not know.
    #[error("the image's /{file} has no {name:?}")]
    Unknown {
        /// The file.
        file: &'static str,
        /// The name.
        name: String,
    },
    /// A file that cannot be used.
    #[error("the image's /{file} cannot be used: {why}")]
    File {
        /// The file.
        file: &'static str,
        /// Why.
        why: String,
    },
}

/// A user or group as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wish {
    Id(u32),
    Name(String),
}

/// A number in its plain form is an id, at most 2^31-1 (what is beyond has been taken for 0 elsewhere); what else
/// begins with a digit is nothing, so that no line of the image's files can make one of it.
fn wish(text: &str) -> Result<Wish, UserError> {
    let malformed = || UserError::Malformed(text.to_owned());
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let canonical = text == "0" || !text.starts_with('0');
        let id = text.parse::<i32>().ok().and_then(|id| u32::try_from(id).ok());
        return id.filter(|_| canonical).map(Wish::Id).ok_or_else(malformed);
    }
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == ':' || c == ',';
    if text.is_empty() || text.starts_with(['-', '+']) || text.contains(odd) {
        return Err(malformed());
    }
    Ok(Wish::Name(text.to_owned()))
}

/// What was asked for: the request's user, else the image's, else root; and a group, where one is named beside it.
/// The image's group belongs to the image's user: a request for another user does not take it.
fn wishes(security: &Security, image_user: &str) -> Result<(Wish, Option<Wish>), UserError> {
    let group = security.run_as_group.map(Wish::Id);
    if let Some(uid) = security.run_as_user {
        return Ok((Wish::Id(uid), group));
    }
    if !security.run_as_username.is_empty() {
        return Ok((wish(&security.run_as_username)?, group));
    }
    let (user, image_group) = match image_user.split_once(':') {
        Some((user, group)) => (user, (!group.is_empty()).then_some(group)),
        None => (image_user, None),
    };
    let user = if user.is_empty() { Wish::Id(0) } else { wish(user)? };
    let image_group = image_group.map(wish).transpose()?;
    Ok((user, group.or(image_group)))
}

/// Resolves the user. Blocking.
pub(super) fn resolve(root: &RootFs, security: &Security, image_user: &str) -> Result<User, UserError> {
    let (user, group) = wishes(security, image_user)?;
    let account = match &user {
        Wish::Id(uid) => account(root, |account| account.uid == *uid)?,
        Wish::Name(name) => {
            let found = account(root, |account| account.name == *name)?;
            Some(found.ok_or_else(|| UserError::Unknown { file: PASSWD, name: name.clone() })?)
        }
    };
    let uid = match user {
        Wish::Id(uid) => uid,
        Wish::Name(_) => account.as_ref().map_or(0, |account| account.uid),
    };
    let gid = match group {
        Some(Wish::Id(gid)) => gid,
        Some(Wish::Name(name)) => {
            let found = open(root, GROUP)?.map(|file| find_group(file, &name)).transpose();
            let found = found.map_err(unusable(GROUP))?.flatten();
            found.ok_or(UserError::Unknown { file: GROUP, name })?
        }
        None => account.as_ref().map_or(0, |account| account.gid),
    };
    // The first group belongs to the list: without it, files that shut a group out would let its members in.
    let mut groups: BTreeSet<u32> = security.supplemental_groups.iter().copied().chain([gid]).collect();
    if let (GroupsPolicy::Merge, Some(account)) = (security.groups_policy, &account)
        && let Some(file) = open(root, GROUP)?
    {
        groups.extend(groups_of(file, &account.name).map_err(unusable(GROUP))?);
    }
    Ok(User {
        uid,
        gid,
        groups: groups.into_iter().collect(),
        home: account.and_then(|account| account.home),
    })
}

fn account(root: &RootFs, fits: impl Fn(&Account) -> bool) -> Result<Option<Account>, UserError> {
    let found = open(root, PASSWD)?.map(|file| find_account(file, fits)).transpose();
    Ok(found.map_err(unusable(PASSWD))?.flatten())
}

fn open(root: &RootFs, file: &'static str) -> Result<Option<BufReader<File>>, UserError> {
    let opened = root.read(file, ACCOUNTS_MAX).map_err(unusable(file))?;
    Ok(opened.map(BufReader::new))
}

fn unusable(file: &'static str) -> impl Fn(io::Error) -> UserError {
    move |error| UserError::File { file, why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{UserError, resolve};
    use crate::{
        container::{GroupsPolicy, Security},
        oci::spec::tests::security,
        store,
        sys::rootfs::RootFs,
    };

    fn image() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        let passwd = b"root:x:0:0::/root:\nweb:x:7:8::/srv:\n99999999999999999999:x:0:0::/:\n0x0:x:0:0::/:\n-1:x:0:0::/:\n";
        store::replace(&root.path().join("etc/passwd"), passwd).unwrap();
        store::replace(&root.path().join("etc/group"), b"staff:x:50:web\nwheel:x:10:root\n").unwrap();
        root
    }

    fn who(security: &Security, image_user: &str) -> Result<(u32, u32, Vec<u32>), UserError> {
        let image = image();
        let user = resolve(&RootFs::open(image.path()).unwrap(), security, image_user)?;
        Ok((user.uid, user.gid, user.groups))
    }

    #[test]
    fn the_images_wish_in_all_its_forms() {
        let nothing = security();
        for (user, expected) in [
            ("", (0, 0, vec![0, 10])),
            ("0", (0, 0, vec![0, 10])),
            ("web", (7, 8, vec![8, 50])),
            ("7", (7, 8, vec![8, 50])),
            ("9", (9, 0, vec![0])),
            ("7:9", (7, 9, vec![9, 50])),
            ("web:staff", (7, 50, vec![50])),
            ("web:", (7, 8, vec![8, 50])),
            (":staff", (0, 50, vec![10, 50])),
        ] {
            assert_eq!(who(&nothing, user), Ok(expected), "{user}");
        }
    }

    #[test]
    fn what_could_become_root_by_a_trick_is_refused() {
        for user in [
            "2147483648",
            "4294967296",
            "4294967295",
            "-1",
            "0x0",
            "00",
            "1000:4294967296",
            "99999999999999999999",
            " 1000",
            "1000 ",
            "nobody",
            "web:nogroup",
            "web:\n",
            "a b",
            "+0",
            "0:00",
            "web:-1",
        ] {
            assert!(who(&security(), user).is_err(), "{user:?}");
        }
    }

    #[test]
    fn the_request_wins_and_takes_no_group_of_another_user() {
        let mut wish = security();
        wish.run_as_user = Some(1002);
        assert_eq!(who(&wish, "7:1003"), Ok((1002, 0, vec![0])));
        wish.run_as_user = Some(7);
        assert_eq!(who(&wish, "0:0"), Ok((7, 8, vec![8, 50])));
        wish.run_as_group = Some(3);
        wish.supplemental_groups = vec![60, 50, 3];
        assert_eq!(who(&wish, "0:0"), Ok((7, 3, vec![3, 50, 60])));
        wish.groups_policy = GroupsPolicy::Strict;
        wish.supplemental_groups = vec![60];
        assert_eq!(who(&wish, "0:0"), Ok((7, 3, vec![3, 60])));
        wish.run_as_user = None;
        wish.run_as_username = "web".into();
        assert_eq!(who(&wish, ""), Ok((7, 3, vec![3, 60])));
        wish.run_as_username = "nobody".into();
        assert!(who(&wish, "").is_err());
    }

    #[test]
    fn an_image_without_the_files_has_numbers_only() {
        let empty = tempfile::tempdir().unwrap();
        let root = RootFs::open(empty.path()).unwrap();
        assert_eq!(resolve(&root, &security(), "7:8").map(|user| (user.uid, user.gid)), Ok((7, 8)));
        assert!(resolve(&root, &security(), "web").is_err());
    }

    #[test]
    fn a_named_pipe_or_a_gigabyte_is_an_error_at_once() {
        let image = image();
        let passwd = image.path().join("etc/passwd");
        fs::File::create(&passwd).unwrap().set_len(1 << 30).unwrap();
        let root = RootFs::open(image.path()).unwrap();
        let error = resolve(&root, &security(), "").unwrap_err().to_string();
        assert!(error.contains("/etc/passwd") && error.contains("longer"), "{error}");
        fs::remove_file(&passwd).unwrap();
        nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = resolve(&root, &security(), "").unwrap_err().to_string();
        assert!(error.contains("/etc/passwd") && error.contains("regular"), "{error}");
    }
}
