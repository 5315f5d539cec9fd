//! The program's own commands: exit codes, what is on stdout and what on stderr, the configuration's errors.
//!
//! Never: a daemon where a command needs none.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tests::{
    daemon::Daemon,
    host,
    image_file::{self, DEMO},
    leaks::Snapshot,
};

fn taffrail(args: &[&str]) -> Output {
    let mut command = Command::new(host::taffrail());
    host::without_own_variables(&mut command);
    command.args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
fn put(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
}

#[test]
fn version_goes_to_stdout() {
    let out = taffrail(&["version"]);
    assert_eq!(out.status.code(), Some(0));
    assert!(text(&out.stdout).contains(env!("CARGO_PKG_VERSION")), "{out:?}");
    let out = taffrail(&["version", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(json.to_string().contains(env!("CARGO_PKG_VERSION")), "{json}");
}

#[test]
fn wrong_usage_is_2_and_a_missing_daemon_6() {
    let out = taffrail(&["no-such-command"]);
    assert_eq!((out.status.code(), out.stdout.len()), (Some(2), 0), "{out:?}");
    let out = taffrail(&["status", "--socket", "/no/such/socket"]);
    assert_eq!((out.status.code(), out.stdout.len()), (Some(6), 0), "{out:?}");
    assert!(text(&out.stderr).contains("/no/such/socket"), "{out:?}");
}

#[test]
fn a_broken_configuration_is_3_and_names_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let path = file.to_string_lossy().into_owned();
    for (content, line, word) in [
        ("# one\nno_such_key = 1\n", ":2", "no_such_key"),
        ("instance = \"Not Good\"\n", ":1", "instance"),
        ("\n\n[log]\ntarget = \"the moon\"\n", ":4", "target"),
        ("root = \"relative\"\n", ":1", "root"),
        ("this is no toml\n", ":1", "config.toml"),
    ] {
        put(&file, content);
        for command in ["serve", "config"] {
            let out = taffrail(&[command, "--config", &path]);
            let said = text(&out.stderr);
            assert_eq!(out.status.code(), Some(3), "{command} with {content:?}: {said}");
            assert!(said.contains(&format!("{path}{line}")) && said.contains(word), "{content:?}: {said}");
        }
    }
    let out = taffrail(&["config", "--config", "/no/such/file"]);
    assert_eq!(out.status.code(), Some(3), "{out:?}");
    let out = taffrail(&["config", "--set", "no_such_key=1"]);
    assert_eq!(out.status.code(), Some(3), "{out:?}");
}

#[test]
fn the_effective_configuration_says_where_each_value_is_from() {
    let folder = tempfile::tempdir().unwrap();
    let drop_ins = folder.path().join("config.d");
    fs::create_dir(&drop_ins).unwrap();
    put(&folder.path().join("config.toml"), "log_level = \"debug\"\ndefault_runtime = \"runc\"\n");
    put(&drop_ins.join("10-level.toml"), "log_level = \"warn\"\n");
    let (file, dir) = (folder.path().join("config.toml"), drop_ins.to_string_lossy().into_owned());
    let args = ["config", "--config", &file.to_string_lossy(), "--config-dir", &dir, "--set", "instance=one"];
    let out = taffrail(&args);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let said = text(&out.stdout);
    for (key, value, source) in [
        ("log_level", "warn", "10-level.toml"),
        ("instance", "one", "--set"),
        ("default_runtime", "runc", "config.toml"),
    ] {
        let line =
            said.lines().find(|line| line.trim_start().starts_with(key)).unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains(value) && line.contains(source), "{line}");
    }
}

#[test]
fn check_says_one_line_for_each_thing() {
    let out = taffrail(&["check"]);
    let said = text(&out.stdout);
    for word in ["kernel", "cgroup", "runc", "overlay"] {
        assert!(said.to_lowercase().contains(word), "{word} in {said}");
    }
    assert!([Some(0), Some(5)].contains(&out.status.code()), "{out:?}");
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().to_string_lossy().into_owned();
    assert_eq!(taffrail(&["man", "--into", &into]).status.code(), Some(0));
    let page =
        |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let all = page("taffrail.8");
    assert_eq!(text(&taffrail(&["man"]).stdout), all);
    for name in
        ["serve", "config", "check", "image", "image-pull", "status", "explain", "version", "quickstart"]
    {
        assert!(page(&format!("taffrail-{name}.8")).contains(".TH"), "{name}");
    }
    // Whoever is sent to a page finds it.
    for named in
        all.split("taffrail\\-").skip(1).filter_map(|rest| rest.split_once("(8)")).map(|(name, _)| name)
    {
        page(&format!("taffrail-{}.8", named.replace('\\', "")));
    }
}

#[test]
fn two_daemons_never_share_a_root() {
    let Some(daemon) = Daemon::start() else { return };
    let command = daemon.command();
    let words: Vec<&str> = command[1..].iter().map(String::as_str).collect();
    let out = taffrail(&words);
    assert_eq!(out.status.code(), Some(4), "{out:?}");
    assert!(text(&out.stderr).contains(&daemon.pid().to_string()), "it says who holds it: {out:?}");
}

#[test]
fn images_are_imported_listed_and_removed() {
    let Some(daemon) = Daemon::start() else { return };
    let json = |args: &[&str]| -> serde_json::Value {
        let out = daemon.cli(args);
        assert!(out.status.success(), "{out:?}");
        serde_json::from_slice(&out.stdout).unwrap()
    };
    assert!(json(&["image", "list", "--json"]).to_string().contains(DEMO));
    assert!(daemon.cli(&["image", "remove", DEMO]).status.success());
    let without = Snapshot::take(daemon.places(), daemon.nursery(), None);
    assert!(!json(&["image", "list", "--json"]).to_string().contains(DEMO));
    let gone = daemon.cli(&["image", "remove", DEMO]);
    assert!([Some(0), Some(1)].contains(&gone.status.code()), "{gone:?}");
    let file = daemon.path("again.tar");
    image_file::write_demo(&file).unwrap();
    let answer = json(&["image", "import", "--json", &file.to_string_lossy()]);
    assert!(answer.to_string().contains("sha256:"), "{answer}");
    assert!(daemon.cli(&["image", "remove", DEMO]).status.success());
    let left = Snapshot::take(daemon.places(), daemon.nursery(), None).more_than(&without);
    assert_eq!(left, None, "import and removal leave nothing");
}

#[test]
fn status_names_the_daemon_and_every_shim() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("p");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    let out = daemon.cli(&["status", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(json["pid"], serde_json::json!(daemon.pid()), "{json}");
    let container = json["containers"].as_array().unwrap().iter().find(|c| c["id"] == *id);
    let container = container.unwrap_or_else(|| panic!("{json}"));
    assert_eq!(container["state"], "running", "{json}");
    assert!(container["shim_pid"].as_u64().is_some_and(|pid| pid > 0), "{json}");
    assert!(container["init_pid"].as_u64().is_some_and(|pid| pid > 0), "{json}");
}
