//! A real kubelet with static pods: what an operator's manifests ask for, through the kubelet's own doors, while the
//! daemon and the kubelet are killed and started again.
//!
//! Never: a call of our own to the CRI while it lasts.

use std::{fs, path::Path};

use cri_api::v1;
use serde_json::{Value, json};
use tests::{
    ask,
    daemon::Daemon,
    host,
    image_file::{BUSYBOX, DEMO},
    kubelet::Kubelet,
    layer::Layer,
    layout::{Layout, Packing},
    limits::KUBELET,
    registry::{self, Registry},
    workload,
};

/// A node: a daemon with busybox, in a network with an address and a way out, as the kubelet wants one.
fn node() -> Option<(Daemon, Kubelet)> {
    let daemon = workload::start()?;
    let network = daemon.network();
    for words in [
        "ip link add node0 type veth peer name outside",
        "ip addr add 192.0.2.1/24 dev node0",
        "ip link set node0 up",
        "ip link set outside up",
        "ip route add default via 192.0.2.254",
    ] {
        network.run(&words.split(' ').collect::<Vec<_>>());
    }
    let kubelet = Kubelet::start(&daemon)?;
    Some((daemon, kubelet))
}

/// The end of a test: the kubelet's and the node's own leavings are taken away, the rest is the leak checker's.
fn done(daemon: &Daemon, kubelet: Kubelet) {
    kubelet.finish(daemon);
    daemon.network().run(&["ip", "link", "del", "node0"]);
}

fn shell(name: &str, script: &str) -> Value {
    json!({
        "name": name, "image": BUSYBOX, "imagePullPolicy": "Never",
        "command": ["/bin/sh", "-c", script],
    })
}

fn demo(name: &str, args: &[&str]) -> Value {
    json!({ "name": name, "image": DEMO, "imagePullPolicy": "Never", "args": args })
}

fn with(mut container: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().into_iter().flatten() {
        container[key] = value.clone();
    }
    container
}

fn restarts(kubelet: &Kubelet, pod: &str, container: &str) -> Option<i64> {
    kubelet.container(pod, container)?["restartCount"].as_i64()
}

/// Ids and restarts of all containers that run for good.
fn running(kubelet: &Kubelet, pods: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    for pod in pods {
        let pod = kubelet.ready(pod);
        for status in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
            assert!(status["state"]["running"].is_object(), "{status}");
            all.push(format!("{} {} {}", status["name"], status["containerID"], status["restartCount"]));
        }
    }
    all
}

/// A page from a pod, fetched from the node.
fn fetch(daemon: &Daemon, url: &str) -> String {
    daemon.network().run(&["curl", "--silent", "--show-error", "--max-time", "5", "--retry", "3", url])
}

fn address(kubelet: &Kubelet, pod: &str) -> String {
    let pod = kubelet.ready(pod);
    pod["status"]["podIP"].as_str().unwrap_or_else(|| panic!("an address: {pod}")).to_owned()
}

/// An init container, and two that share localhost and a folder.
fn web() -> Value {
    let pages = json!({ "volumeMounts": [{ "name": "pages", "mountPath": "/pages" }] });
    let client = "until wget -q -O - http://127.0.0.1:8080/init; do sleep 1; done; exec sleep 3600";
    json!({
        "terminationGracePeriodSeconds": 1,
        "volumes": [{ "name": "pages", "emptyDir": {} }],
        "initContainers": [with(shell("init", "echo made-by-init > /pages/init"), &pages)],
        "containers": [
            with(shell("server", "exec httpd -f -p 8080 -h /pages"), &pages),
            shell("client", client),
        ],
    })
}

#[test]
fn pods_outlive_the_daemon_and_the_kubelet() {
    let Some((mut daemon, mut kubelet)) = node() else { return };
    kubelet.add("web", &web());
    kubelet.add(
        "host",
        &json!({
            "hostNetwork": true, "terminationGracePeriodSeconds": 1,
            "containers": [shell("server", "cd /tmp; echo host > index.html; exec httpd -f -p 192.0.2.1:8081")],
        }),
    );
    let port = json!({ "ports": [{ "containerPort": 80, "hostPort": 8082 }] });
    kubelet.add(
        "port",
        &json!({
            "terminationGracePeriodSeconds": 1,
            "containers": [with(shell("server", "cd /tmp; echo port > index.html; exec httpd -f -p 80"), &port)],
        }),
    );
    let Some(registry) = registry_with_demo(&daemon) else { return };
    let image = registry.name("kubelet/demo:1");
    let pulled =
        json!({ "name": "c", "image": image, "imagePullPolicy": "Always", "args": ["sleep", "3600"] });
    kubelet.add("pulled", &json!({ "terminationGracePeriodSeconds": 1, "containers": [pulled] }));
    let pods = ["web", "host", "pulled", "port"];
    let before = running(&kubelet, &pods);
    let init = kubelet.container("web", "init").expect("the init container is there");
    assert_eq!(init["state"]["terminated"]["reason"], "Completed", "{init}");
    kubelet.eventually("the client's page in its log", || {
        kubelet.container_log("web", "client").contains("made-by-init").then_some(())
    });
    let page = |daemon: &Daemon| fetch(daemon, &format!("http://{}:8080/init", address(&kubelet, "web")));
    assert_eq!(page(&daemon), "made-by-init\n");
    assert_eq!(fetch(&daemon, "http://192.0.2.1:8081/"), "host\n");
    assert_eq!(fetch(&daemon, "http://192.0.2.1:8082/"), "port\n");
    assert_eq!(fetch(&daemon, "http://127.0.0.1:8082/"), "port\n");

    daemon.restart();
    assert_eq!(running(&kubelet, &pods), before, "the daemon's death is not noticed");
    assert_eq!(page(&daemon), "made-by-init\n");
    kubelet.restart();
    assert_eq!(running(&kubelet, &pods), before, "the kubelet's death is not noticed");
    // Both at once, and a pod that is taken away meanwhile.
    kubelet.stop();
    daemon.kill9();
    kubelet.remove("port");
    daemon.launch();
    kubelet.restart();
    gone(&kubelet, &["port"]);
    assert_eq!(running(&kubelet, &["web", "host", "pulled"]), before[..4], "both deaths are not noticed");
    summary(&kubelet);
    let status = kubelet.container("pulled", "c").expect("it runs");
    let id = status["imageID"].as_str().unwrap_or_default();
    assert!(id.starts_with(&registry.name("kubelet/demo@sha256:")), "{status}");
    for pod in ["web", "host", "pulled"] {
        kubelet.remove(pod);
    }
    gone(&kubelet, &["web", "host", "pulled"]);
    daemon.client().remove_image(v1::RemoveImageRequest { image: ask::image(&image) }).unwrap();
    done(&daemon, kubelet);
}

/// A registry in the node's network with the demo program's image in it.
fn registry_with_demo(daemon: &Daemon) -> Option<Registry> {
    let registry = Registry::start(daemon.network(), &registry::Options::default())?;
    let mut layer = Layer::default();
    layer.file("demo", 0o755, &fs::read(host::demo()).unwrap()).unwrap();
    let layout = Layout::new(&daemon.path("pulled")).unwrap();
    let config = json!({ "Entrypoint": ["/demo"] });
    let image = layout.image(&[(&layer.finish().unwrap(), Packing::Gzip)], &config).unwrap();
    layout.enter(&image).unwrap();
    registry.push_layout(layout.path(), "kubelet/demo:1").unwrap();
    Some(registry)
}

fn gone(kubelet: &Kubelet, pods: &[&str]) {
    for pod in pods {
        kubelet.eventually(&format!("pod {pod} is gone"), || match kubelet.try_get("/pods") {
            Some(_) => kubelet.pod(pod).is_none().then_some(()),
            None => None,
        });
    }
}

/// `/stats/summary` has each pod with its containers, their processor, memory and disk, and the pod's network.
fn summary(kubelet: &Kubelet) {
    let missing = || -> Option<Vec<&str>> {
        let all: Value = serde_json::from_str(&kubelet.try_get("/stats/summary")?).ok()?;
        let pods = all["pods"].as_array()?;
        let web = pods.iter().find(|pod| pod["podRef"]["name"] == "web-node1")?;
        let server = web["containers"].as_array()?.iter().find(|one| one["name"] == "server")?;
        let figures = [
            ("container cpu", &server["cpu"]["usageCoreNanoSeconds"]),
            ("container memory", &server["memory"]["workingSetBytes"]),
            ("container rootfs", &server["rootfs"]["usedBytes"]),
            ("container logs", &server["logs"]["inodesUsed"]),
            ("pod cpu", &web["cpu"]["usageCoreNanoSeconds"]),
            ("pod memory", &web["memory"]["workingSetBytes"]),
            ("image file system", &all["node"]["runtime"]["imageFs"]["usedBytes"]),
        ];
        let there = |figure: &Value| figure.as_u64().is_some_and(|figure| figure > 0);
        Some(figures.iter().filter(|(_, figure)| !there(figure)).map(|(name, _)| *name).collect())
    };
    let whole = tests::eventually::within(KUBELET, || missing().filter(Vec::is_empty));
    assert!(whole.is_some(), "{:?} are not in {}", missing(), kubelet.get("/stats/summary"));
}

#[test]
fn probes_and_crashes_restart_and_back_off() {
    let Some((daemon, kubelet)) = node() else { return };
    let often = json!({ "periodSeconds": 1, "failureThreshold": 1, "initialDelaySeconds": 1 });
    let probe = |kind: &str, action: Value| {
        let mut probe = often.clone();
        probe[kind] = action;
        json!({ "livenessProbe": probe })
    };
    let sleep = "trap 'exit 0' TERM; while :; do sleep 1; done";
    kubelet.add(
        "probes",
        &json!({
            "terminationGracePeriodSeconds": 2,
            "containers": [
                with(shell("exec", sleep), &probe("exec", json!({ "command": ["/bin/false"] }))),
                with(shell("http", sleep), &probe("httpGet", json!({ "port": 9001, "path": "/" }))),
                with(shell("tcp", sleep), &probe("tcpSocket", json!({ "port": 9002 }))),
                with(shell("good", "exec httpd -f -p 9003"), &probe("tcpSocket", json!({ "port": 9003 }))),
                with(shell("fine", sleep), &probe("exec", json!({ "command": ["/bin/true"] }))),
            ],
        }),
    );
    let limit = json!({ "resources": { "limits": { "memory": "24Mi" } } });
    kubelet.add(
        "crashes",
        &json!({
            "terminationGracePeriodSeconds": 1,
            "containers": [
                demo("nine", &["exit", "9"]),
                with(demo("hungry", &["mem", "64"]), &limit),
                shell("message", "echo the last words > /dev/termination-log; exit 3"),
            ],
        }),
    );
    for container in ["exec", "http", "tcp"] {
        kubelet.eventually(&format!("{container} is restarted for its probe"), || {
            restarts(&kubelet, "probes", container).filter(|count| *count >= 1)
        });
    }
    for container in ["good", "fine"] {
        assert_eq!(restarts(&kubelet, "probes", container), Some(0), "{container}");
    }
    let ended = |container: &str| {
        kubelet.eventually(&format!("{container} is restarted and backs off"), || {
            let status = kubelet.container("crashes", container)?;
            let waits = status["state"]["waiting"]["reason"] == "CrashLoopBackOff";
            (waits && status["restartCount"].as_i64()? >= 1)
                .then(|| status["lastState"]["terminated"].clone())
        })
    };
    let nine = ended("nine");
    assert_eq!((&nine["exitCode"], &nine["reason"]), (&json!(9), &json!("Error")), "{nine}");
    let hungry = ended("hungry");
    assert_eq!((&hungry["exitCode"], &hungry["reason"]), (&json!(137), &json!("OOMKilled")), "{hungry}");
    assert_eq!(ended("message")["message"], "the last words\n");
    for pod in ["probes", "crashes"] {
        kubelet.remove(pod);
    }
    gone(&kubelet, &["probes", "crashes"]);
    done(&daemon, kubelet);
}

fn read(folder: &Path, name: &str) -> Option<String> {
    fs::read_to_string(folder.join(name)).ok().filter(|text| text.ends_with('\n'))
}

#[test]
fn users_volumes_and_the_last_seconds() {
    let Some((daemon, kubelet)) = node() else { return };
    let shared = kubelet.shared("results");
    fs::set_permissions(&shared, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let results = json!({ "name": "results", "mountPath": "/results" });
    let mounts = |more: &[Value]| {
        let mut all = vec![results.clone()];
        all.extend_from_slice(more);
        json!({ "volumeMounts": all })
    };
    let volume = json!({ "name": "results", "hostPath": { "path": shared, "type": "Directory" } });
    let user = "id > /results/id; stat -c '%g %a' /data > /results/data; exec sleep 3600";
    let secret =
        "(cat /podinfo/labels /podinfo/name; echo) > /results/info; stat -f -c %T /secret > /results/type;
        echo > /podinfo/no; echo $? > /results/readonly; exec sleep 3600";
    let last = "trap 'sleep 1; echo term >> /results/last; exit 0' TERM; echo up > /results/up; while :; do sleep 1; done";
    let hook = json!({ "lifecycle": { "preStop": { "exec": { "command": ["/bin/sh", "-c", "echo hook >> /results/last"] } } } });
    let info = json!({ "downwardAPI": { "items": [
        { "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } },
        { "path": "name", "fieldRef": { "fieldPath": "metadata.name" } },
    ] } });
    kubelet.add(
        "user",
        &json!({
            "terminationGracePeriodSeconds": 20,
            "securityContext": { "runAsUser": 1234, "runAsGroup": 2345, "fsGroup": 3456 },
            "volumes": [
                volume, { "name": "data", "emptyDir": {} },
                { "name": "secret", "emptyDir": { "medium": "Memory" } }, with(json!({ "name": "info" }), &info),
            ],
            "containers": [
                with(shell("id", user), &mounts(&[json!({ "name": "data", "mountPath": "/data" })])),
                with(shell("info", secret), &mounts(&[
                    json!({ "name": "info", "mountPath": "/podinfo", "readOnly": true }),
                    json!({ "name": "secret", "mountPath": "/secret" }),
                ])),
                with(with(shell("last", last), &mounts(&[])), &hook),
            ],
        }),
    );
    kubelet.ready("user");
    let told = |name: &str| kubelet.eventually(name, || read(&shared, name));
    assert_eq!(told("id"), "uid=1234 gid=2345 groups=2345,3456\n");
    assert_eq!(told("data"), "3456 2777\n", "the folder belongs to fsGroup");
    assert_eq!(told("info"), "app=\"user\"user-node1\n");
    assert_eq!(told("type"), "tmpfs\n");
    assert_eq!(told("readonly"), "1\n");
    told("up");
    kubelet.remove("user");
    assert_eq!(told("last"), "hook\n", "the hook comes first");
    kubelet.eventually("the last words", || read(&shared, "last").filter(|text| text == "hook\nterm\n"));
    gone(&kubelet, &["user"]);
    done(&daemon, kubelet);
}
