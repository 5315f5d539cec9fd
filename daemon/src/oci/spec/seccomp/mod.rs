//! Our own seccomp profile, RuntimeDefault, by the capabilities that a container has; and profiles from files.
//!
//! What the table names is allowed, or refused with EPERM; what it does not name is younger than the table and
//! answers ENOSYS, so that programs fall back to what they did before (docs/adr/0009). Owns: the conditions on
//! arguments. Never: reads a file.

mod calls;
mod profile;

pub(super) use profile::read_profile;

use serde_json::{Value, json};

use self::calls::{ALLOWED, BY_CAPABILITY, REFUSED};

const EPERM: i32 = 1;
const ENOSYS: i32 = 38;

/// Flags of clone(2) that make namespaces: mnt, cgroup, uts, ipc, user, pid, net.
const NAMESPACES: [u64; 7] =
    [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
/// The time namespace's, which only unshare(2) takes: clone's low byte is a signal.
const NEW_TIME: u64 = 0x80;

/// Address families that reach past a container: the kernel's crypto, and the host of a virtual machine.
const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;
/// One above the highest family (linux/socket.h, 6.18).
const AF_MAX: u64 = 46;

/// Values of personality(2) that only change how a system names itself; the last one asks.
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x0002_0000, 0x0002_0008, 0xffff_ffff];

/// The architecture we are built for with the ones whose programs it runs too. Calls of any other end the program:
/// x32, which distributions switch off, is left out of the filter, and so out of reach.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: &[&str] = &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: &[&str] = &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"];
/// Elsewhere the runtime's own: no other programs run.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURES: &[&str] = &[];

/// The profile for these capabilities (`CAP_X`).
pub(super) fn runtime_default(capabilities: &[String]) -> Value {
    let has = |name: &str| capabilities.iter().any(|known| known == name);
    let mut allowed: Vec<&str> = ALLOWED.split_whitespace().collect();
    let granted = BY_CAPABILITY.iter().filter(|(capability, _)| has(capability));
    allowed.extend(granted.flat_map(|(_, calls)| calls.split_whitespace()));
    let rest = BY_CAPABILITY.iter().flat_map(|(_, calls)| calls.split_whitespace());
    let mut refused: Vec<&str> = rest.chain(REFUSED.split_whitespace()).collect();
    refused.retain(|call| !allowed.contains(call));
    let mut rules = conditional();
    if has("CAP_SYS_ADMIN") {
        allowed.extend(["clone", "clone3", "unshare"]);
    } else {
        rules.extend(no_namespaces());
    }
    for names in [&mut allowed, &mut refused] {
        names.sort_unstable();
        names.dedup();
    }
    rules.push(json!({ "names": allowed, "action": "SCMP_ACT_ALLOW" }));
    rules.push(refuse(&refused, EPERM));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": ENOSYS,
        "architectures": ARCHITECTURES,
        "syscalls": rules,
    })
}

fn refuse(names: &[&str], errno: i32) -> Value {
    json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno })
}

fn when(name: &str, action: &str, arg: Value) -> Value {
    let mut rule = json!({ "names": [name], "action": action, "args": [arg] });
    if action == "SCMP_ACT_ERRNO" {
        rule["errnoRet"] = json!(EPERM);
    }
    rule
}

fn arg(op: &str, value: u64) -> Value {
    json!({ "index": 0, "value": value, "op": op })
}

fn masked(mask: u64, value: u64) -> Value {
    json!({ "index": 0, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ" })
}

/// What depends on arguments for everybody.
fn conditional() -> Vec<Value> {
    const ALLOW: &str = "SCMP_ACT_ALLOW";
    // Rules about one argument are joined by "or", so "neither 38 nor 40" is said by what is allowed. No "greater than":
    // a filter compares 64 bits, the kernel takes an int, and 2^32 + 38 would pass. Any program can ask through the
    // 32-bit socketcall(2), whose arguments are behind a pointer: no filter sees the family there.
    let mut rules = vec![when("socket", ALLOW, arg("SCMP_CMP_LT", AF_ALG))];
    let above = (AF_ALG + 1..AF_MAX).filter(|family| *family != AF_VSOCK);
    rules.extend(above.map(|family| when("socket", ALLOW, arg("SCMP_CMP_EQ", family))));
    rules.extend(PERSONALITIES.map(|value| when("personality", ALLOW, arg("SCMP_CMP_EQ", value))));
    rules
}

/// For containers without CAP_SYS_ADMIN: no new namespaces, a user's least of all. clone3 hides its flags behind a
/// pointer: ENOSYS makes the C library call clone.
fn no_namespaces() -> Vec<Value> {
    let all: u64 = NAMESPACES.iter().fold(0, |all, flag| all | flag);
    let mut rules = vec![
        when("clone", "SCMP_ACT_ALLOW", masked(all, 0)),
        when("unshare", "SCMP_ACT_ALLOW", masked(all | NEW_TIME, 0)),
        refuse(&["clone3"], ENOSYS),
    ];
    for flag in NAMESPACES {
        rules.push(when("clone", "SCMP_ACT_ERRNO", masked(flag, flag)));
    }
    for flag in NAMESPACES.into_iter().chain([NEW_TIME]) {
        rules.push(when("unshare", "SCMP_ACT_ERRNO", masked(flag, flag)));
    }
    rules
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::{ALLOWED, BY_CAPABILITY, REFUSED, runtime_default};

    fn names<'a>(profile: &'a Value, action: &str) -> BTreeSet<&'a str> {
        let rules = profile["syscalls"].as_array().unwrap().iter();
        let plain = rules.filter(|rule| rule["action"] == action && rule["args"].is_null());
        plain.flat_map(|rule| rule["names"].as_array().unwrap().iter().filter_map(Value::as_str)).collect()
    }

    #[test]
    fn no_call_stands_twice_and_each_is_decided() {
        let tables = [ALLOWED, REFUSED];
        let mut all: Vec<&str> = tables.iter().flat_map(|table| table.split_whitespace()).collect();
        let by: BTreeSet<&str> =
            BY_CAPABILITY.iter().flat_map(|(_, calls)| calls.split_whitespace()).collect();
        all.extend(by);
        let unique: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(all.len(), unique.len(), "a call stands in two tables");
        let profile = runtime_default(&[]);
        let both: Vec<&str> = names(&profile, "SCMP_ACT_ALLOW")
            .intersection(&names(&profile, "SCMP_ACT_ERRNO"))
            .copied()
            .collect();
        assert!(both.is_empty(), "{both:?}");
    }

    #[test]
    fn a_capability_opens_its_calls_and_no_others() {
        let without = runtime_default(&[]);
        assert!(names(&without, "SCMP_ACT_ERRNO").contains("mount"));
        assert!(names(&without, "SCMP_ACT_ERRNO").contains("clone3"));
        assert!(names(&without, "SCMP_ACT_ALLOW").contains("openat2"));
        let admin = runtime_default(&["CAP_SYS_ADMIN".to_owned()]);
        assert!(names(&admin, "SCMP_ACT_ALLOW").is_superset(&["mount", "sethostname", "clone3"].into()));
        assert!(names(&admin, "SCMP_ACT_ERRNO").contains("reboot"));
        assert!(names(&admin, "SCMP_ACT_ERRNO").contains("io_uring_setup"));
    }
}
