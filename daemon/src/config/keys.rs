//! The keys: which there are, their defaults, and what a good value is.
//!
//! Owns: the meaning of each key. Never: reads a file.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    CgroupDriver, Config, ConfigError, LogTarget, RuntimeConfig, RuntimeKind, Settings, network_keys,
};
use crate::systemd;

/// Every key that is no part of `[runtimes]`.
pub(super) const SCALARS: [&str; 25] = [
    "root",
    "state",
    "socket",
    "socket_group",
    "log_level",
    "log.target",
    "instance",
    "cgroup_driver",
    "shim_cgroup",
    "netns_dir",
    "network",
    "cni.conf_dir",
    "cni.bin_dirs",
    "cni.timeout_seconds",
    "bridge.name",
    "bridge.subnet",
    "bridge.subnet6",
    "default_runtime",
    "pids_limit",
    "registries_conf",
    "registries_certs_dir",
    "pull_stall_seconds",
    "layer_max_bytes",
    "layer_max_entries",
    "pinned_images",
];

const DEFAULT_ROOT: &str = "/var/lib/taffrail";
const DEFAULT_STATE: &str = "/run/taffrail";
const DEFAULT_REGISTRIES: &str = "/etc/containers/registries.conf";
const DEFAULT_CERTIFICATES: &str = "/etc/containers/certs.d";
/// Where network namespaces are pinned, by us and by `ip netns`.
pub const NETNS_DIR: &str = "/run/netns";
const DEFAULT_INSTANCE: &str = "taffrail";
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Longest time that a registry may stand still, in seconds; more is no bound.
const STALL_MAX: u64 = 86_400;

/// Longest instance name: it is part of cgroup, pin and interface names.
const INSTANCE_MAX: usize = 32;

/// Where programs are looked for, in order: distributions install runtimes in one of these.
const PROGRAM_DIRS: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Whether this dotted key exists.
pub(super) fn is_known(key: &str) -> bool {
    SCALARS.contains(&key)
        || match key.strip_prefix("runtimes.").and_then(|rest| rest.split_once('.')) {
            Some((name, part)) => !name.is_empty() && ["path", "root", "kind"].contains(&part),
            None => false,
        }
}

/// Fills in the defaults and checks every value.
pub(super) fn check(settings: &mut Settings) -> Result<Config, ConfigError> {
    settings.set_default("root", DEFAULT_ROOT);
    settings.set_default("state", DEFAULT_STATE);
    let root = absolute(settings, "root")?;
    let state = absolute(settings, "state")?;
    settings.set_default("socket", state.join("taffrail.sock").to_string_lossy());
    settings.set_default("log_level", "info");
    settings.set_default("log.target", "auto");
    settings.set_default("instance", default_instance(&root, &state));
    let systemd = systemd::is_there();
    settings.set_default("cgroup_driver", if systemd { "systemd" } else { "cgroupfs" });
    let instance = instance(settings)?;
    let folder = format!("/{instance}-shims");
    let shims = if systemd { format!("/system.slice{folder}.scope") } else { folder };
    settings.set_default("shim_cgroup", shims);
    settings.set_default("netns_dir", NETNS_DIR);
    settings.set_default("default_runtime", "runc");
    settings.set_default("pids_limit", "0");
    settings.set_default("registries_conf", DEFAULT_REGISTRIES);
    settings.set_default("registries_certs_dir", DEFAULT_CERTIFICATES);
    settings.set_default("pull_stall_seconds", "30");
    settings.set_default("layer_max_bytes", (50_u64 << 30).to_string());
    settings.set_default("layer_max_entries", "2000000");
    settings.set_default("pinned_images", "");
    let runtimes = runtimes(settings, &state)?;
    let default_runtime = text(settings, "default_runtime");
    if !runtimes.contains_key(&default_runtime) {
        let names: Vec<&str> = runtimes.keys().map(String::as_str).collect();
        let message = format!("there is no runtime of this name; there are {}", names.join(", "));
        return Err(bad(settings, "default_runtime", message));
    }
    Ok(Config {
        socket: absolute(settings, "socket")?,
        socket_group: settings.get("socket_group").map(|s| s.value.clone()).filter(|g| !g.is_empty()),
        log_level: one_of(settings, "log_level", &LEVELS.map(|level| (level, level)))?.to_owned(),
        log_target: one_of(
            settings,
            "log.target",
            &[("auto", LogTarget::Auto), ("journald", LogTarget::Journald), ("stderr", LogTarget::Stderr)],
        )?,
        cgroup_driver: one_of(
            settings,
            "cgroup_driver",
            &[("cgroupfs", CgroupDriver::Cgroupfs), ("systemd", CgroupDriver::Systemd)],
        )?,
        shim_cgroup: absolute(settings, "shim_cgroup")?.to_string_lossy().into_owned(),
        netns_dir: absolute(settings, "netns_dir")?,
        pids_limit: number(settings, "pids_limit")?,
        registries_conf: registries(settings)?,
        registries_certs_dir: absolute(settings, "registries_certs_dir")?,
        network: network_keys::check(settings)?,
        pull_stall: Duration::from_secs(positive(settings, "pull_stall_seconds")?.min(STALL_MAX)),
        layer_max_bytes: positive(settings, "layer_max_bytes")?,
        layer_max_entries: positive(settings, "layer_max_entries")?,
        pinned_images: pinned(settings),
        root,
        state,
        instance,
        default_runtime,
        runtimes,
    })
}

pub(super) fn text(settings: &Settings, key: &str) -> String {
    settings.get(key).map(|s| s.value.clone()).unwrap_or_default()
}

pub(super) fn bad(settings: &Settings, key: &str, message: impl Into<String>) -> ConfigError {
    ConfigError::Bad { at: settings.place(key), message: message.into() }
}

fn number(settings: &Settings, key: &str) -> Result<u32, ConfigError> {
    let value = text(settings, key);
    let good = value.parse::<u32>().ok().filter(|number| i32::try_from(*number).is_ok());
    good.ok_or_else(|| bad(settings, key, format!("{value:?} must be a whole number, 0 to {}", i32::MAX)))
}

pub(super) fn absolute(settings: &Settings, key: &str) -> Result<PathBuf, ConfigError> {
    let path = PathBuf::from(text(settings, key));
    let plain = path.components().all(|c| !matches!(c, std::path::Component::ParentDir));
    if path.is_absolute() && plain && !text(settings, key).contains('\0') {
        Ok(path)
    } else {
        Err(bad(settings, key, format!("{} must be an absolute path without ..", path.display())))
    }
}

/// A whole number from 1.
fn positive(settings: &Settings, key: &str) -> Result<u64, ConfigError> {
    let value = text(settings, key);
    let number = value.parse().ok().filter(|number| *number > 0 && *number <= i64::MAX as u64);
    number.ok_or_else(|| bad(settings, key, format!("{value:?} must be a whole number from 1")))
}

/// Names and patterns between commas.
fn pinned(settings: &Settings) -> Vec<String> {
    let value = text(settings, "pinned_images");
    value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The usual file may be missing; one that somebody names may not.
fn registries(settings: &Settings) -> Result<PathBuf, ConfigError> {
    let file = absolute(settings, "registries_conf")?;
    if file != Path::new(DEFAULT_REGISTRIES) && !file.is_file() {
        return Err(bad(settings, "registries_conf", format!("{} is no file", file.display())));
    }
    Ok(file)
}

pub(super) fn one_of<T: Copy>(
    settings: &Settings,
    key: &str,
    choices: &[(&str, T)],
) -> Result<T, ConfigError> {
    let value = text(settings, key);
    choices.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        bad(settings, key, format!("{value:?} is none of {}", names.join(", ")))
    })
}

/// `taffrail` for the default folders; else a name that these folders give, the same at each start.
fn default_instance(root: &Path, state: &Path) -> String {
    if root == Path::new(DEFAULT_ROOT) && state == Path::new(DEFAULT_STATE) {
        return DEFAULT_INSTANCE.to_owned();
    }
    let hash = fold(&[root.as_os_str().as_encoded_bytes(), b"\0", state.as_os_str().as_encoded_bytes()]);
    format!("{DEFAULT_INSTANCE}-{:08x}", hash >> 32)
}

/// A number for names, from these bytes (FNV-1a): stable for ever, no secret in it.
pub fn fold(parts: &[&[u8]]) -> u64 {
    parts.concat().iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn instance(settings: &Settings) -> Result<String, ConfigError> {
    let value = text(settings, "instance");
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if value.is_empty() || value.len() > INSTANCE_MAX || !value.bytes().all(good) || value.starts_with('-') {
        let message = format!("{value:?} must be 1 to {INSTANCE_MAX} lower-case letters, digits or inner -");
        return Err(bad(settings, "instance", message));
    }
    Ok(value)
}

fn runtimes(settings: &mut Settings, state: &Path) -> Result<BTreeMap<String, RuntimeConfig>, ConfigError> {
    let mut names: BTreeSet<String> = ["runc", "crun"].map(str::to_owned).into();
    names.extend(
        settings
            .iter()
            .filter_map(|(key, _)| Some(key.strip_prefix("runtimes.")?.split_once('.')?.0.to_owned())),
    );
    let mut runtimes = BTreeMap::new();
    for name in names {
        let key = |part: &str| format!("runtimes.{name}.{part}");
        let kind = if name == "crun" { "crun" } else { "runc" };
        settings.set_default(&key("kind"), kind);
        let kind =
            one_of(settings, &key("kind"), &[("runc", RuntimeKind::Runc), ("crun", RuntimeKind::Crun)])?;
        settings.set_default(&key("path"), find_program(&name).to_string_lossy());
        settings.set_default(&key("root"), state.join("runtimes").join(&name).to_string_lossy());
        let path = match text(settings, &key("path")) {
            path if path.is_empty() => PathBuf::new(),
            _ => absolute(settings, &key("path"))?,
        };
        let root = absolute(settings, &key("root"))?;
        runtimes.insert(name, RuntimeConfig { path, root, kind });
    }
    Ok(runtimes)
}

fn find_program(name: &str) -> PathBuf {
    PROGRAM_DIRS.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.is_file()).unwrap_or_default()
}
