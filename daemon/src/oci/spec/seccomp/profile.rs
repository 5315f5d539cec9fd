//! A seccomp profile of a file, in the runtime specification's form, and in the older one of Docker with its
//! conditions on architecture, capabilities and kernel.
//!
//! Owns: what a good profile is; a key that nobody knows is an error, since a rule passed over is a hole. Never:
//! opens the file.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

/// Actions that need nobody to listen.
const ACTIONS: [&str; 8] = [
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArchMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    name: Option<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    errno: Option<String>,
    #[serde(default)]
    args: Option<Vec<Value>>,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    includes: Conditions,
    #[serde(default)]
    excludes: Conditions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Conditions {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// Reads a profile for a container with these capabilities (`CAP_X`) on a kernel of this version; the error is a
/// sentence about the profile.
pub(in crate::oci::spec) fn read_profile(
    text: &[u8],
    capabilities: &[String],
    kernel: (u32, u32),
) -> Result<Value, String> {
    let profile: Profile =
        serde_json::from_slice(text).map_err(|e| format!("it is no seccomp profile: {e}"))?;
    action(&profile.default_action)?;
    let mut rules = Vec::new();
    for rule in &profile.syscalls {
        action(&rule.action)?;
        if let Some(rule) = rule.make(capabilities, kernel)? {
            rules.push(rule);
        }
    }
    let mut made: BTreeMap<&str, Value> = BTreeMap::new();
    made.insert("defaultAction", json!(profile.default_action));
    made.insert("syscalls", json!(rules));
    if let Some(errno) = profile.default_errno_ret {
        made.insert("defaultErrnoRet", json!(errno));
    }
    let mut architectures = profile.architectures.clone();
    if let Some(map) = profile.arch_map.iter().find(|map| map.architecture == own_architecture()) {
        architectures.push(map.architecture.clone());
        architectures.extend(map.sub_architectures.iter().flatten().cloned());
    }
    if !architectures.is_empty() {
        made.insert("architectures", json!(architectures));
    }
    if !profile.flags.is_empty() {
        made.insert("flags", json!(profile.flags));
    }
    Ok(json!(made))
}

fn action(name: &str) -> Result<(), String> {
    if ACTIONS.contains(&name) { Ok(()) } else { Err(format!("{name:?} is no action that is supported")) }
}

fn own_architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" }
}

impl Rule {
    /// The rule in the runtime's form; `None`: it is not for this container or host.
    fn make(&self, capabilities: &[String], kernel: (u32, u32)) -> Result<Option<Value>, String> {
        if self.errno.is_some() {
            return Err("errno by name is not supported; use errnoRet".to_owned());
        }
        let mut names = self.names.clone();
        names.extend(self.name.clone());
        if names.is_empty() || names.iter().any(String::is_empty) {
            let comment = self.comment.as_deref().unwrap_or_default();
            return Err(format!("a rule names no system call {comment:?}"));
        }
        if !self.includes.all(capabilities, kernel)? || self.excludes.any(capabilities, kernel)? {
            return Ok(None);
        }
        let mut rule = json!({ "names": names, "action": self.action });
        if let Some(errno) = self.errno_ret {
            rule["errnoRet"] = json!(errno);
        }
        if let Some(args) = self.args.as_ref().filter(|args| !args.is_empty()) {
            rule["args"] = json!(args);
        }
        Ok(Some(rule))
    }
}

impl Conditions {
    fn all(&self, capabilities: &[String], kernel: (u32, u32)) -> Result<bool, String> {
        let caps = self.caps.iter().all(|cap| capabilities.contains(cap));
        let arches = self.arches.is_empty() || self.arches.iter().any(|arch| is_own(arch));
        Ok(caps && arches && self.kernel()?.is_none_or(|least| kernel >= least))
    }

    fn any(&self, capabilities: &[String], kernel: (u32, u32)) -> Result<bool, String> {
        let caps = self.caps.iter().any(|cap| capabilities.contains(cap));
        let arches = self.arches.iter().any(|arch| is_own(arch));
        Ok(caps || arches || self.kernel()?.is_some_and(|least| kernel >= least))
    }

    fn kernel(&self) -> Result<Option<(u32, u32)>, String> {
        let Some(text) = &self.min_kernel else { return Ok(None) };
        let parts = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        parts.map(Some).ok_or_else(|| format!("minKernel {text:?} is no version like 4.8"))
    }
}

/// Go's names of architectures, as Docker's profiles use them.
fn is_own(arch: &str) -> bool {
    let own: &[&str] = if cfg!(target_arch = "aarch64") { &["arm64", "arm"] } else { &["amd64", "x86"] };
    own.contains(&arch)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::read_profile;

    fn read(profile: &serde_json::Value) -> Result<serde_json::Value, String> {
        read_profile(profile.to_string().as_bytes(), &["CAP_SYS_ADMIN".to_owned()], (6, 1))
    }

    #[test]
    fn both_forms_are_read() {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "archMap": [{ "architecture": super::own_architecture(), "subArchitectures": ["SCMP_ARCH_X86"] },
                        { "architecture": "SCMP_ARCH_S390X", "subArchitectures": null }],
            "syscalls": [
                { "names": ["read"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "x" },
                { "name": "mount", "action": "SCMP_ACT_ALLOW", "includes": { "caps": ["CAP_SYS_ADMIN"] } },
                { "names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "7.0" } },
                { "names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": { "caps": ["CAP_SYS_ADMIN"] } }
            ]
        });
        let made = read(&profile).unwrap();
        assert_eq!(made["syscalls"].as_array().unwrap().len(), 2);
        assert_eq!(made["architectures"], json!([super::own_architecture(), "SCMP_ARCH_X86"]));
        assert_eq!(made["syscalls"][1]["names"], json!(["mount"]));
    }

    #[test]
    fn what_would_be_passed_over_is_an_error() {
        for (bad, word) in [
            (json!({}), "defaultAction"),
            (json!({ "defaultAction": "ALLOW" }), "ALLOW"),
            (json!({ "defaultAction": "SCMP_ACT_NOTIFY" }), "NOTIFY"),
            (json!({ "defaultAction": "SCMP_ACT_ALLOW", "sycalls": [] }), "sycalls"),
            (
                json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "action": "SCMP_ACT_ERRNO" }] }),
                "names",
            ),
            (
                json!({ "defaultAction": "SCMP_ACT_ALLOW",
                        "syscalls": [{ "names": ["x"], "action": "SCMP_ACT_ERRNO", "includes": { "minKernel": "x" } }] }),
                "minKernel",
            ),
        ] {
            let error = read(&bad).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        assert!(read_profile(b"\0\xff", &[], (6, 1)).is_err());
    }
}
