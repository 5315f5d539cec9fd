//! The role of making a pod's namespaces and pinning them to files: one short process a pod, with one thread.
//!
//! Owns: the new namespaces until their pins hold them. Never: joins or leaves a mount namespace.

mod order;

use std::{
    fs::{self, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::sethostname,
};

use self::order::{Order, Setting};
use crate::{
    fault::{Because, Fault},
    limits::PIN_ORDER_MAX,
    sys::network::loopback_up,
};

/// Reads an order from standard input and carries it out, or takes back what it made of it.
pub(crate) fn run() -> Result<(), Fault> {
    let mut text = String::new();
    let most = u64::try_from(PIN_ORDER_MAX).unwrap_or(u64::MAX);
    std::io::stdin().take(most).read_to_string(&mut text).because(|| "the order cannot be read".into())?;
    let order = Order::parse(&text)?;
    let wanted = [
        (CloneFlags::CLONE_NEWNET, "net", &order.net),
        (CloneFlags::CLONE_NEWIPC, "ipc", &order.ipc),
        (CloneFlags::CLONE_NEWUTS, "uts", &order.uts),
    ];
    let asked = wanted.iter().filter(|(_, _, path)| path.is_some());
    let flags = asked.fold(CloneFlags::empty(), |flags, (flag, ..)| flags | *flag);
    unshare(flags).because(|| "the namespaces cannot be made".into())?;
    if order.net.is_some() {
        loopback_up().because(|| "the loopback device cannot be brought up".into())?;
    }
    if let Some(name) = &order.hostname {
        sethostname(name).because(|| format!("the host name {name:?} cannot be set"))?;
    }
    order.settings.iter().try_for_each(set)?;
    let mut made = Vec::new();
    for (_, name, path) in wanted {
        let Some(path) = path else { continue };
        if let Err(fault) = pin(name, path, &mut made) {
            made.iter().rev().for_each(Made::take_back);
            return Err(fault);
        }
    }
    Ok(())
}

/// Writes a setting. /proc/sys shows those of the namespaces of whoever looks, which are the new ones here.
fn set(setting: &Setting) -> Result<(), Fault> {
    let path = Path::new("/proc/sys").join(&setting.path);
    let written = OpenOptions::new().write(true).open(&path).and_then(|mut file| {
        // The kernel takes a value in one write.
        file.write_all(setting.value.as_bytes())
    });
    match written {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !setting.must => Ok(()),
        written => written.because(|| format!("sysctl {}={:?} cannot be set", setting.path, setting.value)),
    }
}

/// What was made and is taken back where a later step fails.
enum Made<'a> {
    File(&'a Path),
    Mount(&'a Path),
}

impl Made<'_> {
    fn take_back(&self) {
        match self {
            // Nobody else uses it yet, and what cannot be undone here is the daemon's to reclaim by name.
            Self::Mount(path) => drop(umount2(*path, MntFlags::MNT_DETACH)),
            Self::File(path) => drop(fs::remove_file(path)),
        }
    }
}

fn pin<'a>(name: &str, path: &'a Path, made: &mut Vec<Made<'a>>) -> Result<(), Fault> {
    let shown = || format!("the pin {} cannot be made", path.display());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    match options.open(path) {
        Ok(_) => made.push(Made::File(path)),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            let is_file = fs::symlink_metadata(path).because(shown)?.is_file();
            if !is_file {
                return Err(Fault::new(format!("{}: something that is no regular file is there", shown())));
            }
        }
        Err(e) => return Err(e).because(shown),
    }
    let from = format!("/proc/self/ns/{name}");
    mount(Some(from.as_str()), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).because(shown)?;
    made.push(Made::Mount(path));
    Ok(())
}
