//! What this host can do, and how a test says that it cannot run here.
//!
//! A skip is printed as `skipped: why`, counted by the summary of `make test`, and a failure where
//! TAFFRAIL_TEST_REQUIRE names what is missing. Never: lets a skip look like a pass.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// Folders of system programs, which a user's PATH often lacks.
const PROGRAM_DIRS: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Where a program is: in the tools folder, in PATH, or in a folder of system programs.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = [tools()].into_iter().chain(env::split_paths(&path));
    folders.chain(PROGRAM_DIRS.map(PathBuf::from)).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// The workspace's folder.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where `.ci/tools` puts crictl and critest.
pub fn tools() -> PathBuf {
    env::var_os("TAFFRAIL_TOOLS").map_or_else(|| workspace().join("target/tools"), PathBuf::from)
}

/// The program under test: TAFFRAIL_BIN, else what `make build` left.
pub fn taffrail() -> PathBuf {
    let path =
        env::var_os("TAFFRAIL_BIN").map_or_else(|| workspace().join("target/dist/taffrail"), PathBuf::from);
    assert!(path.is_file(), "{} is not there: run `make build`, or set TAFFRAIL_BIN", path.display());
    path
}

/// The static program for containers: TAFFRAIL_DEMO_BIN, else where `make build` has it built.
pub fn demo() -> PathBuf {
    let built = || workspace().join("target/x86_64-unknown-linux-musl/shim/taffrail-demo");
    let path = env::var_os("TAFFRAIL_DEMO_BIN").map_or_else(built, PathBuf::from);
    assert!(path.is_file(), "{} is not there: run `make build`, or set TAFFRAIL_DEMO_BIN", path.display());
    path
}

/// Whether the long forms of tests are wanted (`make test-full`).
pub fn full() -> bool {
    env::var_os("TAFFRAIL_TEST_FULL").is_some()
}

/// Whether the unified cgroup hierarchy is the only one.
pub fn cgroup_v2_only() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Takes the tests' own variables out of a command's environment: the program reads TAFFRAIL_... as configuration.
pub fn without_own_variables(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("TAFFRAIL_") {
            command.env_remove(name);
        }
    }
}

/// Says why the running test cannot run here. `feature` is what TAFFRAIL_TEST_REQUIRE may name.
pub fn skip(feature: &str, why: &str) {
    let required = env::var("TAFFRAIL_TEST_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|name| name.trim() == feature),
        "{feature} is required here (TAFFRAIL_TEST_REQUIRE), but: {why}"
    );
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let line = format!("skipped: {test}: {why}\n");
    // Past the capture of libtest, which would hide what a passing test prints.
    std::io::stderr().write_all(line.as_bytes()).expect("stderr is open");
    if let Some(path) = env::var_os("TAFFRAIL_TEST_SKIPS") {
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the list of skips can be written");
    }
}

/// What every test with containers needs: root, runc, overlay. `false`: the test has been skipped.
pub fn can_run_containers() -> bool {
    if !nix::unistd::geteuid().is_root() {
        skip("root", "not root");
        return false;
    }
    if find("runc").is_none() {
        skip("runc", "no runc here");
        return false;
    }
    if !fs::read_to_string("/proc/filesystems").unwrap_or_default().contains("\toverlay") {
        skip("overlay", "the kernel has no overlay file system");
        return false;
    }
    true
}

/// Says a figure that a test measured, past the capture of libtest.
pub fn figure(text: &str) {
    std::io::stderr().write_all(format!("figure: {text}\n").as_bytes()).expect("stderr is open");
}

/// crictl, or a skip.
pub fn crictl() -> Option<PathBuf> {
    let found = find("crictl");
    if found.is_none() {
        skip("crictl", "no crictl here: .ci/tools builds it where Go is");
    }
    found
}
