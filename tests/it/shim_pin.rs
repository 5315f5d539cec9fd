//! The pin role: namespaces that outlive the process that made them, and nothing left of a failed order.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use nix::mount::{MntFlags, umount2};
use tests::host;

use crate::shim_under_test::{program, put, shown};

fn pin(order: &str) -> Output {
    let mut command = Command::new(program());
    command.arg("pin").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It may refuse before it has read all.
    drop(stdin.write_all(order.as_bytes()));
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn inside(kind: &str, path: &Path, command: &[&str]) -> String {
    let flag = format!("--{kind}={}", path.display());
    let output = Command::new("nsenter").arg(flag).args(command).output().expect("nsenter runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn mounts_below(dir: &Path) -> usize {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    mounts.lines().filter(|line| line.contains(&shown(dir))).count()
}

#[test]
fn namespaces_are_pinned_and_ready() {
    if !host::can_run_containers() {
        return;
    }
    let dir = tempfile::tempdir().expect("a scratch folder");
    let at = |name: &str| dir.path().join(name);
    put(&at("ipc"), b"");
    let order = format!("hostname=pod-7\nnet={0}/net\nipc={0}/ipc\nuts={0}/uts\n", dir.path().display());
    let output = pin(&order);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    for name in ["net", "ipc", "uts"] {
        let pinned = fs::metadata(at(name)).expect("the pin").ino();
        assert_ne!(pinned, fs::metadata(format!("/proc/self/ns/{name}")).expect("ours").ino());
    }
    assert_eq!(inside("uts", &at("uts"), &["uname", "-n"]), "pod-7");
    let loopback = inside("net", &at("net"), &["cat", "/proc/net/fib_trie"]);
    assert!(loopback.contains("127.0.0.1"), "the loopback device is down: {loopback}");
    for name in ["net", "ipc", "uts"] {
        umount2(&at(name), MntFlags::empty()).expect("it is a mount");
    }
    assert_eq!(mounts_below(dir.path()), 0);
}

#[test]
fn a_failed_order_leaves_nothing() {
    if !host::can_run_containers() {
        return;
    }
    let dir = tempfile::tempdir().expect("a scratch folder");
    let path = dir.path().display();
    fs::create_dir(dir.path().join("folder")).expect("a scratch folder");
    for order in [
        format!("net={path}/net\nipc={path}/ipc\nuts={path}/missing/uts\n"),
        format!("net={path}/net\nuts={path}/folder\n"),
        format!("net={path}/net\nmnt={path}/mnt\n"),
        String::new(),
        "\u{0}\u{1}".repeat(100_000),
    ] {
        let output = pin(&order);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let words = String::from_utf8(output.stderr).expect("text");
        assert_eq!(words.lines().count(), 1, "{words}");
        let left: Vec<_> = fs::read_dir(dir.path()).expect("the folder").flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(mounts_below(dir.path()), 0);
    }
    drop(File::open(dir.path()));
}
