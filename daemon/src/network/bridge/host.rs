//! What the host has to allow so that packets pass between pods and the world.
//!
//! Each setting is changed only where it must be, and the log says so. Never: changes one back; others may rely on it.

use std::{fs, io, path::Path};

/// The folder of network settings; of the network namespace of whoever looks.
const NET: &str = "/proc/sys/net";

/// Whether the host has IPv6.
pub(super) fn has_ipv6() -> bool {
    read("ipv6/conf/all/disable_ipv6").is_some_and(|value| value == "0")
}

/// Lets IPv4 packets pass through the host, and pods be reached from the host's loopback addresses.
pub(super) fn allow_ipv4(bridge: &str) -> io::Result<()> {
    set("ipv4/ip_forward", "1", "pods reach the world through this host")?;
    // On the bridge alone; the firewall table drops what comes from there for 127.0.0.0/8 (CVE-2020-8558).
    set(&format!("ipv4/conf/{bridge}/route_localnet"), "1", "host ports answer at 127.0.0.1")
}

/// The same for IPv6. A host that forwards takes no router's word any more unless it is told to go on (2).
pub(super) fn allow_ipv6() -> io::Result<()> {
    if read("ipv6/conf/all/forwarding").as_deref() == Some("1") {
        return Ok(());
    }
    for entry in fs::read_dir(Path::new(NET).join("ipv6/conf"))? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let setting = format!("ipv6/conf/{name}/accept_ra");
        if read(&setting).as_deref() == Some("1") {
            set(&setting, "2", "this host forwards, and still learns its routes from routers")?;
        }
    }
    set("ipv6/conf/all/forwarding", "1", "pods reach the world through this host")
}

fn read(setting: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new(NET).join(setting)).ok()?;
    Some(text.trim().to_owned())
}

fn set(setting: &str, value: &str, why: &str) -> io::Result<()> {
    let before = read(setting);
    if before.as_deref() == Some(value) {
        return Ok(());
    }
    let path = Path::new(NET).join(setting);
    let mut file = fs::OpenOptions::new().write(true).open(&path)?;
    io::Write::write_all(&mut file, value.as_bytes())?;
    tracing::info!(setting = %path.display(), ?before, value, why, "a setting of the host is changed");
    Ok(())
}
