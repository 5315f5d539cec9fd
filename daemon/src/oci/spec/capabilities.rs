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

/// The capabilities of a container, as `CAP_X`, sorted. Adding wins over dropping, but for a name that is
/// dropped beside an added `ALL`. What the host does not give us is left out: a runtime would fail on it.
pub(super) fn of(security: &Security, host: CapabilitySet) -> Result<Vec<String>, SpecError> {
    let add = security.add_capabilities.iter().map(|n| checked(n)).collect::<Result<BTreeSet<_>, _>>()?;
    let drop = security.drop_capabilities.iter().map(|n| checked(n)).collect::<Result<BTreeSet<_>, _>>()?;
    let mut set: BTreeSet<String> = DEFAULT_CAPABILITIES.map(str::to_owned).into();
    if drop.contains("ALL") {
        set.clear();
    }
    if add.contains("ALL") {
        set = NAMES.map(str::to_owned).into();
    }
    set.retain(|name| !drop.contains(name));
    set.extend(add.into_iter().filter(|name| name != "ALL"));
    Ok(set.into_iter().filter(|name| host.has(name)).map(|name| format!("CAP_{name}")).collect())
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
        let given = of(&wish, CapabilitySet(0x1ff_feff_ffff)).unwrap();
        assert!(
            given.contains(&"CAP_SYS_ADMIN".to_owned()) && !given.contains(&"CAP_SYS_RESOURCE".to_owned())
        );
    }

    #[test]
    fn all_is_dropped_and_added() {
        let mut wish = security();
        wish.drop_capabilities = vec!["ALL".into()];
        wish.add_capabilities = vec!["NET_RAW".into()];
        assert_eq!(of(&wish, ALL).unwrap(), ["CAP_NET_RAW"]);
        wish.add_capabilities = vec!["ALL".into()];
        wish.drop_capabilities = vec!["SYS_BOOT".into()];
        assert_eq!(of(&wish, ALL).unwrap().len(), 40);
        wish.add_capabilities = vec!["NO_SUCH".into()];
        assert!(of(&wish, ALL).is_err());
    }
}
