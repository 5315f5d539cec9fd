//! Capabilities: their names, the default set, and what is left of a wish on this host.
//!
//! Owns: the table (linux/capability.h, kernel 5.9 and later: 41). Never: looks at a process.

use std::collections::BTreeSet;

use super::SpecError;
use crate::container::Security;

/// Every capability by number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container has that asks for nothing: the set that Docker began and containerd kept.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// A set of capabilities as a bit mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapabilitySet(pub u64);

impl CapabilitySet {
    /// The known names that are not in it.
    pub fn missing(self) -> Vec<&'static str> {
        NAMES.into_iter().filter(|name| !self.has(name)).collect()
    }

    /// Whether a name is in it.
    pub fn has(self, name: &str) -> bool {
        NAMES.iter().position(|known| *known == name).is_some_and(|bit| self.0 >> bit & 1 == 1)
    }
}

fn plain(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
}

fn checked(name: &str) -> Result<String, SpecError> {
    let name = plain(name);
    if name == "ALL" || NAMES.contains(&name.as_str()) {
        Ok(name)
    } else {
        Err(SpecError::UnknownCapability(name))
    }
}

/// What a container is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Granted {
    /// Bounding, effective and permitted, as `CAP_X`, sorted.
    pub(super) all: Vec<String>,
    /// Inheritable and ambient: what a program without file capabilities keeps. Empty where none was asked for
    /// (CVE-2022-24769).
    pub(super) ambient: Vec<String>,
}

/// The capabilities of a container. Adding wins over dropping, but for a name that is dropped beside an added `ALL`.
/// What the host does not give us is left out: a runtime would fail on it.
pub(super) fn of(security: &Security, host: CapabilitySet) -> Result<Granted, SpecError> {
    let all = |names: &[String]| names.iter().map(|n| checked(n)).collect::<Result<BTreeSet<_>, _>>();
    let mut ambient = all(&security.ambient_capabilities)?;
    let mut add = all(&security.add_capabilities)?;
    let drop = all(&security.drop_capabilities)?;
    add.extend(ambient.iter().cloned());
    let mut set: BTreeSet<String> = DEFAULT_CAPABILITIES.map(str::to_owned).into();
    if drop.contains("ALL") {
        set.clear();
    }
    if security.privileged {
        set = NAMES.map(str::to_owned).into();
    } else {
        if add.contains("ALL") {
            set = NAMES.map(str::to_owned).into();
        }
        set.retain(|name| !drop.contains(name));
        set.extend(add.into_iter().filter(|name| name != "ALL"));
    }
    if ambient.remove("ALL") {
        ambient.clone_from(&set);
    }
    let given = |names: BTreeSet<String>| {
        names.into_iter().filter(|name| host.has(name)).map(|name| format!("CAP_{name}")).collect()
    };
    Ok(Granted { all: given(set), ambient: given(ambient) })
}

#[cfg(test)]
mod tests {
    use super::{CapabilitySet, of};
    use crate::oci::spec::tests::security;

    const ALL: CapabilitySet = CapabilitySet(u64::MAX);

    #[test]
    fn what_the_host_lacks_is_left_out() {
        let mut wish = security();
        wish.add_capabilities = vec!["SYS_RESOURCE".into(), "cap_sys_admin".into()];
        let given = of(&wish, CapabilitySet(0x1ff_feff_ffff)).unwrap().all;
        assert!(
            given.contains(&"CAP_SYS_ADMIN".to_owned()) && !given.contains(&"CAP_SYS_RESOURCE".to_owned())
        );
    }

    #[test]
    fn all_is_dropped_and_added() {
        let mut wish = security();
        wish.drop_capabilities = vec!["ALL".into()];
        wish.add_capabilities = vec!["NET_RAW".into()];
        assert_eq!(of(&wish, ALL).unwrap().all, ["CAP_NET_RAW"]);
        assert!(of(&wish, ALL).unwrap().ambient.is_empty());
        wish.add_capabilities = vec!["ALL".into()];
        wish.drop_capabilities = vec!["SYS_BOOT".into()];
        assert_eq!(of(&wish, ALL).unwrap().all.len(), 40);
        wish.add_capabilities = vec!["NO_SUCH".into()];
        assert!(of(&wish, ALL).is_err());
    }

    #[test]
    fn privileged_has_all_and_ambient_ones_are_in_every_set() {
        let mut wish = security();
        wish.ambient_capabilities = vec!["NET_BIND_SERVICE".into(), "SYS_TIME".into()];
        let given = of(&wish, ALL).unwrap();
        assert_eq!(given.ambient, ["CAP_NET_BIND_SERVICE", "CAP_SYS_TIME"]);
        assert!(given.all.contains(&"CAP_SYS_TIME".to_owned()));
        wish.privileged = true;
        wish.drop_capabilities = vec!["ALL".into()];
        assert_eq!(of(&wish, ALL).unwrap().all.len(), 41);
    }
}
