//! The keys about networks: their defaults, and what a good value is.
//!
//! Owns: the meaning of each key. Never: looks at a network.

use std::{path::PathBuf, time::Duration};

use super::{
    ConfigError, NetworkConfig, NetworkMode, Settings,
    keys::{absolute, bad, one_of, text},
};

/// Where distributions and installers of CNI put plugins.
const CNI_BIN_DIRS: &str = "/opt/cni/bin:/usr/lib/cni:/usr/libexec/cni";

/// How long a CNI call may take: plugins of some networks wait for their own daemon; the kubelet gives up at four
/// minutes.
const CNI_TIMEOUT: &str = "120";

/// Longest time that may be set, in seconds.
const CNI_TIMEOUT_MAX: u64 = 3600;

/// Longest name of a link in bytes (IFNAMSIZ without its zero).
const LINK_NAME_MAX: usize = 15;

/// Fills in the defaults and checks.
pub(super) fn check(settings: &mut Settings) -> Result<NetworkConfig, ConfigError> {
    settings.set_default("network", "auto");
    settings.set_default("cni.conf_dir", "/etc/cni/net.d");
    settings.set_default("cni.bin_dirs", CNI_BIN_DIRS);
    settings.set_default("cni.timeout_seconds", CNI_TIMEOUT);
    settings.set_default("bridge.name", "");
    settings.set_default("bridge.subnet", "");
    settings.set_default("bridge.subnet6", "");
    let modes = [
        ("auto", NetworkMode::Auto),
        ("cni", NetworkMode::Cni),
        ("bridge", NetworkMode::Bridge),
        ("none", NetworkMode::None),
    ];
    Ok(NetworkConfig {
        mode: one_of(settings, "network", &modes)?,
        cni_conf_dir: absolute(settings, "cni.conf_dir")?,
        cni_bin_dirs: folders(settings, "cni.bin_dirs")?,
        cni_timeout: seconds(settings, "cni.timeout_seconds")?,
        bridge_name: link_name(settings, "bridge.name")?,
        bridge_subnet: text(settings, "bridge.subnet"),
        bridge_subnet6: text(settings, "bridge.subnet6"),
    })
}

/// Absolute paths, separated by `:`.
fn folders(settings: &Settings, key: &str) -> Result<Vec<PathBuf>, ConfigError> {
    let value = text(settings, key);
    let paths: Vec<PathBuf> = value.split(':').map(PathBuf::from).collect();
    if paths.iter().all(|path| path.is_absolute()) && !value.contains('\0') {
        Ok(paths)
    } else {
        Err(bad(settings, key, format!("{value:?} must be absolute paths, separated by :")))
    }
}

fn seconds(settings: &Settings, key: &str) -> Result<Duration, ConfigError> {
    let value = text(settings, key);
    match value.parse() {
        Ok(number) if (1..=CNI_TIMEOUT_MAX).contains(&number) => Ok(Duration::from_secs(number)),
        _ => Err(bad(settings, key, format!("{value:?} must be a number from 1 to {CNI_TIMEOUT_MAX}"))),
    }
}

fn link_name(settings: &Settings, key: &str) -> Result<String, ConfigError> {
    let value = text(settings, key);
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if value.len() > LINK_NAME_MAX || !value.bytes().all(good) || value == "." || value == ".." {
        let message = format!("{value:?} must be 1 to {LINK_NAME_MAX} letters, digits, -, _ or .");
        return Err(bad(settings, key, message));
    }
    Ok(value)
}
