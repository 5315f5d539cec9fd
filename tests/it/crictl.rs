//! crictl's commands against an image made from Debian's busybox-static, as an operator types them.
//!
//! Never: a call of our own client; that is `lifecycle.rs`.

use std::fs;

use serde_json::json;
use tests::{
    crictl::Crictl, daemon::Daemon, eventually::eventually, image_file::BUSYBOX, limits::SOON, workload,
};

/// A daemon with the busybox image, and crictl.
fn start() -> Option<(Daemon, Crictl)> {
    let daemon = Daemon::start()?;
    let crictl = Crictl::new(&daemon)?;
    // After the baseline: each test removes the image, and nothing of it may stay.
    workload::load(&daemon, BUSYBOX, &[], &json!({})).then_some((daemon, crictl))
}

fn pod_file(daemon: &Daemon) -> String {
    let logs = daemon.path("logs/web");
    let config = json!({
        "metadata": { "name": "web", "namespace": "default", "uid": "web-1", "attempt": 0 },
        "hostname": "web", "log_directory": logs, "linux": {}
    });
    Crictl::file(daemon, "pod.json", &config)
}

fn container_file(daemon: &Daemon, name: &str, command: &[&str]) -> String {
    let config = json!({
        "metadata": { "name": name }, "image": { "image": BUSYBOX },
        "command": command, "log_path": format!("{name}.log"), "linux": {}
    });
    Crictl::file(daemon, &format!("{name}.json"), &config)
}

#[test]
fn every_command_of_an_operators_first_day() {
    let Some((daemon, crictl)) = start() else { return };
    let version = crictl.run(&["version"]);
    assert!(version.contains("RuntimeName:  taffrail"), "{version}");
    let info = crictl.json(&["info"]);
    assert!(info["status"]["conditions"].as_array().is_some_and(|list| list.len() >= 2), "{info}");
    let images = crictl.json(&["images", "-o", "json"]);
    let tags = images["images"].to_string();
    assert!(tags.contains(BUSYBOX), "{tags}");
    let image = crictl.json(&["inspecti", BUSYBOX]);
    assert_eq!(image["status"]["repoTags"], json!([BUSYBOX]));

    let pod_config = pod_file(&daemon);
    let pod = crictl.run(&["runp", &pod_config]);
    let pods = crictl.json(&["pods", "-o", "json"]);
    assert_eq!(pods["items"][0]["id"], json!(pod));
    let inspected = crictl.json(&["inspectp", &pod]);
    assert_eq!(inspected["status"]["state"], json!("SANDBOX_READY"));

    let script = "echo out; echo err >&2; exec sleep 600";
    let container_config = container_file(&daemon, "c", &["/bin/sh", "-c", script]);
    let id = crictl.run(&["create", &pod, &container_config, &pod_config]);
    assert_eq!(crictl.run(&["start", &id]), id);
    assert_eq!(crictl.run(&["ps", "-q"]), id);
    let inspected = crictl.json(&["inspect", &id]);
    assert_eq!(inspected["status"]["state"], json!("CONTAINER_RUNNING"));
    let logs = eventually(SOON, "both lines", || {
        let (_, out, err) = crictl.try_run(&["logs", &id]);
        (out.contains("out") && err.contains("err")).then_some((out, err))
    });
    assert_eq!((logs.0.trim(), logs.1.trim()), ("out", "err"), "each on its own stream");
    assert_eq!(crictl.run(&["exec", "-s", &id, "/bin/echo", "hello"]), "hello");
    let (code, _, said) = crictl.try_run(&["exec", "-s", &id, "/bin/sh", "-c", "exit 3"]);
    assert!(code != 0 && said.contains('3'), "crictl tells the exit code: {code} {said}");

    crictl.run(&["stop", "-t", "0", &id]);
    let inspected = crictl.json(&["inspect", &id]);
    assert_eq!(inspected["status"]["exitCode"], json!(137));
    crictl.run(&["rm", &id]);
    crictl.run(&["stopp", &pod]);
    crictl.run(&["rmp", &pod]);
    assert_eq!(crictl.run(&["ps", "-a", "-q"]), "");
    assert_eq!(crictl.run(&["pods", "-q"]), "");
    crictl.run(&["rmi", BUSYBOX]);
    assert_ne!(crictl.try_run(&["inspecti", BUSYBOX]).0, 0);
}

#[test]
fn a_shell_in_the_image_sees_a_container() {
    let Some((daemon, crictl)) = start() else { return };
    let pod_config = pod_file(&daemon);
    let pod = crictl.run(&["runp", &pod_config]);
    let script = "id -u; cat /etc/hostname; [ -w /tmp ] && echo writable; [ -c /dev/null ] && echo devices; ps | grep -c sh";
    let config = container_file(&daemon, "c", &["/bin/sh", "-c", script]);
    let id = crictl.run(&["create", &pod, &config, &pod_config]);
    crictl.run(&["start", &id]);
    eventually(SOON, "the script's end", || {
        (crictl.json(&["inspect", &id])["status"]["state"] == json!("CONTAINER_EXITED")).then_some(())
    });
    let out = crictl.run(&["logs", &id]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(&lines[..4], ["0", "web", "writable", "devices"], "{out}");
    assert!(fs::metadata(daemon.path("logs/web/c.log")).is_ok());
    crictl.run(&["rmp", "-f", &pod]);
    crictl.run(&["rmi", BUSYBOX]);
}
