//! CNI: Debian's own plugins, and one that does as it is told by script.
//!
//! Never: the host's CNI folders or its network.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use cri_api::v1;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    ask,
    daemon::{Daemon, Options, Pod},
    eventually::eventually,
    host,
    limits::SOON,
};

use crate::network::{addresses, page_soon, run, with_ports};

/// A folder of configurations, one of plugins, and what the scripted plugin was asked.
pub(crate) struct Folder(TempDir);

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
pub(crate) fn put(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("tt-cni.").tempdir_in("/tmp").unwrap();
        for name in ["conf", "bin", "told"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn options(&self) -> Options {
        let set = [
            format!("cni.conf_dir={}", self.path("conf").display()),
            format!("cni.bin_dirs={}:/usr/lib/cni:/opt/cni/bin", self.path("bin").display()),
            "cni.timeout_seconds=2".to_owned(),
        ];
        Options { set: set.into(), ..Options::default() }
    }

    pub(crate) fn configure(&self, file: &str, network: &Value) {
        put(&self.path("conf").join(file), &network.to_string());
    }

    /// A plugin that notes what it is asked, and gives an address unless `told/COMMAND` is a script.
    pub(crate) fn script(&self, name: &str) {
        let text = r#"#!/bin/sh
told=TOLD
cat > $told/@ME@.$CNI_COMMAND.input
echo "@ME@ $CNI_COMMAND $CNI_CONTAINERID netns=$CNI_NETNS $CNI_IFNAME $CNI_ARGS" >> $told/journal
env > $told/environment
[ -f $told/$CNI_COMMAND ] && . $told/$CNI_COMMAND
[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.3/24"}],"dns":{}}'
"#;
        let path = self.path("bin").join(name);
        put(&path, &text.replace("TOLD", &self.path("told").to_string_lossy()).replace("@ME@", name));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// From now on the plugin runs this first; `None`: it behaves.
    pub(crate) fn tell(&self, command: &str, script: Option<&str>) {
        let path = self.path("told").join(command);
        match script {
            Some(script) => put(&path, script),
            None => fs::remove_file(&path).unwrap(),
        }
    }

    pub(crate) fn journal(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("told/journal")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// How often a plugin was asked this for a pod.
    pub(crate) fn asked(&self, plugin: &str, command: &str, id: &str) -> usize {
        let begin = format!("{plugin} {command} {id}");
        self.journal().iter().filter(|line| line.starts_with(&begin)).count()
    }

    pub(crate) fn input(&self, plugin: &str, command: &str) -> Value {
        let text = fs::read_to_string(self.path("told").join(format!("{plugin}.{command}.input"))).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// A daemon whose network is one scripted plugin.
    pub(crate) fn scripted(&self) -> Option<Daemon> {
        self.script("scripted");
        self.configure("10-scripted.conflist", &scripted("scripted"));
        Daemon::start_with(self.options())
    }
}

pub(crate) fn scripted(name: &str) -> Value {
    json!({ "cniVersion": "1.0.0", "name": name, "plugins": [{ "type": "scripted" }] })
}

/// Debian's chain, with everything it keeps below the test's folder.
fn chain(folder: &Folder) -> Option<Value> {
    let found = ["/usr/lib/cni/bridge", "/opt/cni/bin/bridge"].iter().any(|path| Path::new(path).is_file());
    if !found {
        host::skip("cni", "no CNI plugins here (containernetworking-plugins)");
        return None;
    }
    let addresses = json!({
        "type": "host-local",
        "dataDir": folder.path("addresses"),
        "ranges": [[{ "subnet": "10.77.0.0/24" }], [{ "subnet": "fd00:77::/64" }]],
        "routes": [{ "dst": "0.0.0.0/0" }],
    });
    Some(json!({ "cniVersion": "1.0.0", "name": "pods", "plugins": [
        { "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": addresses },
        { "type": "portmap", "capabilities": { "portMappings": true } },
        { "type": "firewall", "ingressPolicy": "open" },
    ] }))
}

fn network_ready(daemon: &Daemon) -> (bool, String, String) {
    let status = daemon.client().status(v1::StatusRequest::default()).unwrap().status.unwrap();
    let found = status.conditions.into_iter().find(|condition| condition.r#type == "NetworkReady").unwrap();
    (found.status, found.reason, found.message)
}

fn refused(daemon: &Daemon, name: &str) -> String {
    let config = ask::pod(name, &daemon.path("logs"));
    daemon.client().run_pod_sandbox(ask::run(&config)).expect_err("it is refused").message().to_owned()
}

pub(crate) fn stop(daemon: &Daemon, pod: &Pod) -> Result<(), String> {
    let answer = daemon.client().stop_pod_sandbox(ask::stop_pod(&pod.id));
    answer.map(drop).map_err(|status| status.message().to_owned())
}

#[test]
fn debians_chain_gives_addresses_and_host_ports_and_takes_them_back() {
    let folder = Folder::new();
    let Some(network) = chain(&folder) else { return };
    folder.configure("10-pods.conflist", &network);
    let Some(mut daemon) = Daemon::start_with(folder.options()) else { return };
    assert!(network_ready(&daemon).0, "{:?}", network_ready(&daemon));
    let ports = [(v1::Protocol::Tcp, 8080, 80, "")];
    // The plugins keep chains that they make at the first use.
    run(&daemon, with_ports(&daemon, "first", &ports));
    daemon.remove_pods();
    daemon.settle();
    let pod = run(&daemon, with_ports(&daemon, "server", &ports));
    let other = daemon.run_pod("other");
    daemon.run(&pod, "server", &["serve", "80", "here"]);
    let found = addresses(&daemon, &pod.id);
    assert!(found[0].to_string().starts_with("10.77.0.") && found.len() == 2, "{found:?}");
    assert_ne!(addresses(&daemon, &other.id)[0], found[0]);
    assert!(page_soon(&daemon, SocketAddr::new(found[0], 80)).starts_with("here, "));
    let loopback: IpAddr = "127.0.0.1".parse().unwrap();
    assert!(page_soon(&daemon, SocketAddr::new(loopback, 8080)).starts_with("here, "));

    // The configuration goes away, and the daemon dies: the pods keep what they have, and it is taken back all the same.
    fs::remove_file(folder.path("conf/10-pods.conflist")).unwrap();
    daemon.restart();
    assert_eq!(addresses(&daemon, &pod.id), found);
    daemon.remove_pods();
    let left: Vec<_> = fs::read_dir(folder.path("addresses/pods"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.starts_with("10.") || name.starts_with("fd00"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    daemon.check_leaks();
    // What the plugins made for all pods is theirs, and stays on a host.
    daemon.network().run(&["nft", "flush", "ruleset"]);
    daemon.network().run(&["ip", "link", "del", "cni0"]);
}

#[test]
fn a_plugin_that_misbehaves_is_named_and_nothing_is_left() {
    let folder = Folder::new();
    let Some(daemon) = folder.scripted() else { return };
    let cases = [
        (r#"echo '{"code":11,"msg":"try again","details":"later"}'; exit 1"#, "try again; later (code 11)"),
        ("echo 'no such thing' >&2; exit 3", "exit status: 3: no such thing"),
        ("exit 7", "it said nothing"),
        ("echo 'this is no JSON'; exit 0", "no JSON"),
        ("exit 0", "no JSON"),
        ("echo null; exit 0", "no JSON object"),
        (r#"echo '{}{}'; exit 0"#, "no JSON"),
        (r#"echo '{"ips":[]}'; exit 0"#, "no address"),
        (r#"echo '{"ips":[{"address":"nowhere"}]}'; exit 0"#, "nowhere"),
        ("yes '{\"ips\":[' ; exit 0", "more than"),
        ("sleep 600", "did not end within"),
        ("sleep 600 & exit 0", "did not end within"),
        ("trap '' TERM PIPE; while :; do :; done", "did not end within"),
        (r"printf 'a\033[2Jb\n' >&2; exit 1", "a [2Jb"),
    ];
    for (nr, (script, words)) in cases.iter().enumerate() {
        folder.tell("ADD", Some(script));
        let said = refused(&daemon, &format!("p{nr}"));
        assert!(said.contains("scripted") && said.contains(words), "{script}: {said}");
        assert!(network_ready(&daemon).0, "one bad pod is not the node's state");
    }
    folder.tell("ADD", None);
    // Each was undone.
    let count =
        |command: &str| folder.journal().iter().filter(|line| line.contains(&format!(" {command} "))).count();
    eventually(SOON, "as many DEL as ADD", || (count("ADD") - 1 == count("DEL") - 1).then_some(()));
    daemon.run_pod("good");
}

#[test]
fn a_del_that_fails_is_tried_until_it_succeeds() {
    let folder = Folder::new();
    let Some(mut daemon) = folder.scripted() else { return };
    let pod = daemon.run_pod("p");
    assert_eq!(addresses(&daemon, &pod.id)[0].to_string(), "10.1.2.3");
    folder.tell("DEL", Some(r#"echo '{"code":7,"msg":"not now"}'; exit 1"#));
    for _ in 0..2 {
        let said = stop(&daemon, &pod).unwrap_err();
        assert!(said.contains("scripted") && said.contains("not now"), "{said}");
        let listed = daemon.client().list_pod_sandbox(v1::ListPodSandboxRequest::default()).unwrap().items;
        assert_eq!(listed[0].state(), v1::PodSandboxState::SandboxNotready, "half taken down is not ready");
    }
    daemon.restart();
    assert!(stop(&daemon, &pod).unwrap_err().contains("not now"));
    assert!(daemon.client().remove_pod_sandbox(ask::remove_pod(&pod.id)).is_err());
    // The next network has another plugin; the pod's DEL is for the one it was made by.
    folder.script("other");
    let mut other = scripted("other");
    other["plugins"][0]["type"] = "other".into();
    folder.configure("10-scripted.conflist", &other);
    folder.tell("DEL", None);
    stop(&daemon, &pod).unwrap();
    let input = folder.input("scripted", "DEL");
    assert_eq!(
        (&input["name"], &input["prevResult"]["ips"][0]["address"]),
        (&json!("scripted"), &json!("10.1.2.3/24"))
    );
    assert_eq!(folder.asked("other", "DEL", &pod.id), 0);
    let before = folder.asked("scripted", "DEL", &pod.id);
    stop(&daemon, &pod).unwrap();
    daemon.client().remove_pod_sandbox(ask::remove_pod(&pod.id)).unwrap();
    assert_eq!(folder.asked("scripted", "DEL", &pod.id), before, "once it succeeded it is not asked again");
    let later = daemon.run_pod("later");
    assert_eq!(folder.asked("other", "ADD", &later.id), 1);
}

#[test]
fn a_failed_add_whose_del_fails_is_given_back_later() {
    let folder = Folder::new();
    let Some(daemon) = folder.scripted() else { return };
    folder.tell("ADD", Some("exit 1"));
    folder.tell("DEL", Some("exit 1"));
    refused(&daemon, "p");
    let listed = || daemon.client().list_pod_sandbox(v1::ListPodSandboxRequest::default()).unwrap().items;
    eventually(SOON, "it shows, so that the kubelet removes it", || (listed().len() == 1).then_some(()));
    let left = listed().remove(0);
    assert_eq!(left.state(), v1::PodSandboxState::SandboxNotready);
    folder.tell("ADD", None);
    // Its name is free meanwhile.
    daemon.run_pod("p");
    folder.tell("DEL", None);
    daemon.client().stop_pod_sandbox(ask::stop_pod(&left.id)).unwrap();
    daemon.client().remove_pod_sandbox(ask::remove_pod(&left.id)).unwrap();
    assert!(folder.asked("scripted", "DEL", &left.id) >= 2);
}

#[test]
fn plugins_are_told_what_the_pod_asks_for() {
    let folder = Folder::new();
    folder.script("scripted");
    let mut network = scripted("told");
    let wanted = ["portMappings", "bandwidth", "dns", "io.kubernetes.cri.pod-annotations"];
    network["plugins"][0]["capabilities"] =
        wanted.iter().map(|name| ((*name).to_owned(), json!(true))).collect();
    network["plugins"].as_array_mut().unwrap().push(json!({ "type": "second", "mine": 7 }));
    folder.script("second");
    folder.configure("10-told.conflist", &network);
    let Some(daemon) = Daemon::start_with(folder.options()) else { return };
    let mut config = with_ports(&daemon, "p", &[(v1::Protocol::Udp, 53, 5353, "127.0.0.1")]);
    config.annotations = [("kubernetes.io/ingress-bandwidth".to_owned(), "10M".to_owned())].into();
    let dns = v1::DnsConfig { servers: vec!["10.0.0.9".into()], searches: vec!["a".into()], options: vec![] };
    config.dns_config = Some(dns);
    let pod = run(&daemon, config.clone());
    let input = folder.input("scripted", "ADD");
    assert_eq!(
        input["runtimeConfig"],
        json!({
            "portMappings": [{ "hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "127.0.0.1" }],
            "bandwidth": { "ingressRate": 10_000_000, "ingressBurst": i32::MAX },
            "dns": { "servers": ["10.0.0.9"], "searches": ["a"], "options": [] },
            "io.kubernetes.cri.pod-annotations": { "kubernetes.io/ingress-bandwidth": "10M" },
        })
    );
    assert!(input.get("capabilities").is_none() && input["cniVersion"] == "1.0.0" && input["name"] == "told");
    let second = folder.input("second", "ADD");
    assert_eq!(
        (&second["mine"], &second["prevResult"]["ips"][0]["address"]),
        (&json!(7), &json!("10.1.2.3/24"))
    );
    assert!(second.get("runtimeConfig").is_none());
    let journal = folder.journal();
    let line = journal.iter().find(|line| line.starts_with(&format!("scripted ADD {}", pod.id))).unwrap();
    let pin = daemon.path("netns").join(format!("{}-{}", daemon.instance(), pod.id));
    assert!(line.contains(&format!("netns={} eth0 ", pin.display())), "{line}");
    let args = format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=test;K8S_POD_NAME=p;K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID=uid-p",
        pod.id
    );
    assert!(line.ends_with(&args), "{line}");
    let environment = fs::read_to_string(folder.path("told/environment")).unwrap();
    assert!(!environment.contains("TAFFRAIL") && !environment.contains("HOME="), "{environment}");
    stop(&daemon, &pod).unwrap();
    let order: Vec<String> =
        folder.journal().iter().rev().take(2).rev().map(|l| l.split(' ').next().unwrap().into()).collect();
    assert_eq!(order, ["second", "scripted"], "DEL goes from the last to the first");

    let mut bad = config;
    bad.metadata.as_mut().unwrap().name = "bad".into();
    bad.annotations = [("kubernetes.io/egress-bandwidth".to_owned(), "fast".to_owned())].into();
    let said = daemon.client().run_pod_sandbox(ask::run(&bad)).unwrap_err();
    assert!(said.message().contains("egress-bandwidth") && said.message().contains("fast"), "{said}");
    bad.annotations.clear();
    bad.metadata.as_mut().unwrap().name = "a;K8S_POD_UID=root".into();
    let said = daemon.client().run_pod_sandbox(ask::run(&bad)).unwrap_err();
    assert!(said.message().contains("K8S_POD_NAME"), "{said}");
}

#[test]
fn readiness_tells_the_truth_as_the_folder_changes() {
    let folder = Folder::new();
    let Some(daemon) = folder.scripted() else { return };
    assert_eq!(network_ready(&daemon), (true, String::new(), String::new()));
    let first = "00-first.conf";
    let told = |content: &str, reason: &str, words: &[&str]| {
        put(&folder.path("conf").join(first), content);
        let (ready, found, message) = network_ready(&daemon);
        assert_eq!((ready, found.as_str()), (false, reason), "{message}");
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
        let said = refused(&daemon, "p");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    };
    told("", "CniConfigInvalid", &[first]);
    told("{ \"name\": ", "CniConfigInvalid", &[first]);
    told(r#"{"cniVersion":"0.1.0","name":"n","type":"scripted"}"#, "CniConfigInvalid", &[first, "0.1.0"]);
    told(
        r#"{"cniVersion":"1.0.0","name":"n","type":"../../bin/sh"}"#,
        "CniConfigInvalid",
        &[first, "../../bin/sh"],
    );
    told(r#"{"cniVersion":"1.0.0","name":"n","type":"missing"}"#, "CniPluginMissing", &[first, "missing"]);
    let ipam = r#"{"cniVersion":"1.0.0","name":"n","type":"scripted","ipam":{"type":"no-ipam"}}"#;
    told(ipam, "CniPluginMissing", &[first, "no-ipam"]);
    // What is no configuration by its name does not count.
    fs::rename(folder.path("conf").join(first), folder.path("conf/00-first.conf.bak")).unwrap();
    assert!(network_ready(&daemon).0);
    daemon.run_pod("p");
    // Without any the built-in network is there.
    fs::remove_file(folder.path("conf/10-scripted.conflist")).unwrap();
    assert!(network_ready(&daemon).0);
}

#[test]
fn without_a_configuration_there_is_no_network_where_cni_is_wanted() {
    let folder = Folder::new();
    folder.script("scripted");
    folder.configure("10-scripted.conflist", &scripted("scripted"));
    let mut options = folder.options();
    options.set.push("network=cni".to_owned());
    let Some(daemon) = Daemon::start_with(options) else { return };
    fs::remove_file(folder.path("conf/10-scripted.conflist")).unwrap();
    let (ready, reason, message) = network_ready(&daemon);
    assert_eq!((ready, reason.as_str()), (false, "CniConfigMissing"));
    assert!(message.contains(&*folder.path("conf").to_string_lossy()), "{message}");
    assert!(refused(&daemon, "p").contains("no CNI configuration"));
    fs::remove_dir_all(folder.path("conf")).unwrap();
    assert!(!network_ready(&daemon).0);
    fs::create_dir(folder.path("conf")).unwrap();
    folder.configure("20-other.conf", &json!({ "cniVersion": "0.4.0", "name": "one", "type": "scripted" }));
    assert!(network_ready(&daemon).0, "seen at once");
    daemon.run_pod("p");
}

#[test]
fn the_newest_version_is_asked_for_its_status_and_told_who_is_there() {
    let folder = Folder::new();
    folder.script("scripted");
    let mut network = scripted("new");
    network["cniVersion"] = "1.1.0".into();
    folder.configure("10-new.conflist", &network);
    let Some(mut daemon) = Daemon::start_with(folder.options()) else { return };
    eventually(SOON, "readiness", || network_ready(&daemon).0.then_some(()));
    let pod = daemon.run_pod("p");
    folder.tell("STATUS", Some(r#"echo '{"code":50,"msg":"the agent is away"}'; exit 1"#));
    daemon.restart();
    let told = eventually(SOON, "the plugin's word", || {
        Some(network_ready(&daemon)).filter(|told| told.1 == "CniPluginNotReady")
    });
    assert!(!told.0 && told.2.contains("the agent is away") && told.2.contains("scripted"), "{told:?}");
    folder.tell("STATUS", None);
    eventually(SOON, "the garbage collection", || {
        folder.path("told/scripted.GC.input").exists().then_some(())
    });
    let valid = &folder.input("scripted", "GC")["cni.dev/valid-attachments"];
    assert_eq!(*valid, json!([{ "containerID": pod.id, "ifname": "eth0" }]));
    eventually(SOON, "a check of the pod", || {
        (folder.asked("scripted", "CHECK", &pod.id) == 1).then_some(())
    });
    assert_eq!(folder.input("scripted", "CHECK")["prevResult"]["ips"][0]["address"], "10.1.2.3/24");

    // Where not all pods are known nothing is given back: it might be theirs.
    let told = folder.path("told/scripted.GC.input");
    let facts = daemon.path("root/sandboxes").join(&pod.id).join("facts.json");
    let good = fs::read_to_string(&facts).unwrap();
    fs::remove_file(&told).unwrap();
    put(&facts, "{");
    put(&daemon.path("state/sandboxes").join(&pod.id).join("facts.json"), "{");
    daemon.restart();
    eventually(SOON, "a check, which comes after it", || {
        (folder.asked("scripted", "CHECK", &pod.id) == 2).then_some(())
    });
    assert!(!told.exists());
    put(&facts, &good);
    daemon.restart();
    eventually(SOON, "the garbage collection", || told.exists().then_some(()));
}

#[test]
fn a_plugin_that_hangs_holds_nobody_else() {
    let folder = Folder::new();
    let Some(daemon) = folder.scripted() else { return };
    let pod = daemon.run_pod("here");
    folder.tell("ADD", Some("sleep 600"));
    let callers: Vec<_> = (0..20)
        .map(|nr| {
            let (client, config) =
                (daemon.client().clone(), ask::pod(&format!("p{nr}"), &daemon.path("logs")));
            std::thread::spawn(move || client.run_pod_sandbox(ask::run(&config)).is_err())
        })
        .collect();
    eventually(SOON, "all to hang", || {
        (folder.journal().iter().filter(|line| line.contains(" ADD ")).count() >= 22).then_some(())
    });
    assert!(network_ready(&daemon).0);
    assert_eq!(addresses(&daemon, &pod.id).len(), 1);
    stop(&daemon, &pod).unwrap();
    assert!(callers.into_iter().all(|caller| caller.join().unwrap()));
    folder.tell("ADD", None);
}
