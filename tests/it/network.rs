//! The built-in network: addresses, what reaches whom, host ports, and that nothing of it is left.
//!
//! Every daemon here lives in a network of its own. Never: an address of the host.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use cri_api::v1;
use tests::{
    ask,
    daemon::{Daemon, Options, Pod},
    eventually::{eventually, within},
    host,
    limits::SOON,
};
use tonic::Code;

/// Between two tries of a datagram, which may be lost before its server is there.
const DATAGRAM: Duration = Duration::from_millis(200);

pub fn addresses(daemon: &Daemon, id: &str) -> Vec<IpAddr> {
    let answer = daemon.client().pod_sandbox_status(ask::pod_status(id)).unwrap();
    let network = answer.status.unwrap().network.unwrap();
    let texts = std::iter::once(network.ip).chain(network.additional_ips.into_iter().map(|ip| ip.ip));
    texts.filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect()
}

/// A page, asked for from the daemon's network.
fn page(daemon: &Daemon, at: SocketAddr) -> std::io::Result<String> {
    let mut connection = daemon.network().connect(at)?;
    connection.set_read_timeout(Some(SOON))?;
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut said = String::new();
    connection.read_to_string(&mut said)?;
    Ok(said.split_once("\r\n\r\n").map(|(_, page)| page.trim_end().to_owned()).unwrap_or_default())
}

pub fn page_soon(daemon: &Daemon, at: SocketAddr) -> String {
    eventually(SOON, &format!("a page from {at}"), || page(daemon, at).ok().filter(|page| !page.is_empty()))
}

fn datagram(daemon: &Daemon, at: SocketAddr) -> Option<String> {
    let from = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = daemon.network().datagrams(from);
    socket.set_read_timeout(Some(DATAGRAM)).unwrap();
    socket.send_to(b"ping ", at).ok()?;
    let mut bytes = [0; 64];
    let (length, _) = socket.recv_from(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

pub fn with_ports(
    daemon: &Daemon,
    name: &str,
    ports: &[(v1::Protocol, i32, i32, &str)],
) -> v1::PodSandboxConfig {
    let mut config = ask::pod(name, &daemon.path("logs"));
    let ports = ports.iter().map(|(protocol, host, container, ip)| v1::PortMapping {
        protocol: *protocol as i32,
        host_port: *host,
        container_port: *container,
        host_ip: (*ip).to_owned(),
    });
    config.port_mappings = ports.collect();
    config
}

pub fn run(daemon: &Daemon, config: v1::PodSandboxConfig) -> Pod {
    let answer = daemon.client().run_pod_sandbox(ask::run(&config)).unwrap_or_else(|e| panic!("{e}"));
    Pod { id: answer.pod_sandbox_id, config }
}

/// What a program in a pod prints.
fn said(daemon: &Daemon, container: &str, command: &[&str]) -> String {
    let words: Vec<&str> = std::iter::once("/demo").chain(command.iter().copied()).collect();
    let answer = daemon.client().exec_sync(ask::exec(container, &words, 20)).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    format!("{}{}", text(&answer.stdout), text(&answer.stderr))
}

fn needs_nft() -> bool {
    if host::find("nft").is_none() {
        host::skip("nft", "no nft here");
        return false;
    }
    true
}

#[test]
fn a_pod_has_an_address_and_is_reached_at_it() {
    let Some(mut daemon) = Daemon::start() else { return };
    let (one, two) = (daemon.run_pod("one"), daemon.run_pod("two"));
    let found = addresses(&daemon, &one.id);
    assert!(found[0].is_ipv4(), "{found:?}");
    assert_ne!(found, addresses(&daemon, &two.id));
    daemon.run(&one, "server", &["serve", "80", "one"]);
    let client = daemon.run(&one, "client", &["sleep", "600"]);
    let other = daemon.run(&two, "client", &["sleep", "600"]);
    for address in &found {
        let at = SocketAddr::new(*address, 80);
        assert!(page_soon(&daemon, at).starts_with("one, "), "from the host");
        let pods = addresses(&daemon, &two.id);
        let same_family = pods.iter().find(|pod| pod.is_ipv4() == address.is_ipv4()).unwrap();
        let wanted = format!("one, {same_family}");
        assert_eq!(said(&daemon, &other, &["fetch", &at.to_string()]), wanted, "from another pod, unmasked");
    }
    // Two containers share the pod's loopback.
    assert!(said(&daemon, &client, &["fetch", "127.0.0.1:80"]).starts_with("one, "));
    let hosts = said(&daemon, &client, &["cat", "/etc/hosts"]);
    assert!(hosts.contains(&format!("{}\tone", found[0])), "{hosts}");

    daemon.restart();
    assert_eq!(addresses(&daemon, &one.id), found, "an empty address makes the kubelet make the pod anew");
    assert!(page_soon(&daemon, SocketAddr::new(found[0], 80)).starts_with("one, "));
    let three = daemon.run_pod("three");
    assert!(addresses(&daemon, &three.id).iter().all(|address| !found.contains(address)));

    daemon.client().stop_pod_sandbox(ask::stop_pod(&two.id)).unwrap();
    assert!(addresses(&daemon, &two.id).is_empty(), "it was given back");
}

#[test]
fn the_host_is_ready_and_says_so() {
    let Some(mut daemon) = Daemon::start() else { return };
    let condition = |daemon: &Daemon| {
        let status = daemon.client().status(v1::StatusRequest::default()).unwrap().status.unwrap();
        status.conditions.into_iter().find(|condition| condition.r#type == "NetworkReady").unwrap()
    };
    assert!(condition(&daemon).status, "{:?}", condition(&daemon));
    // A route of the host's to where the pods' addresses are.
    daemon.network().run(&["ip", "link", "add", "other", "type", "veth", "peer", "name", "end"]);
    daemon.network().run(&["ip", "addr", "add", "10.86.7.1/24", "dev", "other"]);
    for link in ["other", "end"] {
        daemon.network().run(&["ip", "link", "set", link, "up"]);
    }
    let told = condition(&daemon);
    assert_eq!((told.status, told.reason.as_str()), (false, "SubnetInUse"));
    assert!(
        told.message.contains("10.86.7.0/24") && told.message.contains("bridge.subnet"),
        "{}",
        told.message
    );
    let refused =
        daemon.client().run_pod_sandbox(ask::run(&ask::pod("p", &daemon.path("logs")))).unwrap_err();
    assert!(refused.message().contains("bridge.subnet"), "{refused}");
    daemon.network().run(&["ip", "link", "del", "other"]);
    assert!(condition(&daemon).status);
    daemon.run_pod("p");
    if !needs_nft() {
        return;
    }
    // Somebody else's firewall that lets nothing pass: a drop is final, so it is told.
    daemon.network().run(&["nft", "add", "table", "inet", "theirs"]);
    let chain = "add chain inet theirs pass { type filter hook forward priority 0; policy drop; }";
    daemon.network().run(&["nft", chain]);
    daemon.restart();
    let told = eventually(SOON, "the firewall's name", || {
        Some(condition(&daemon)).filter(|condition| condition.message.contains("inet theirs pass"))
    });
    assert!(told.status, "pods on this host reach each other all the same");
    daemon.network().run(&["nft", "delete", "table", "inet", "theirs"]);
}

#[test]
fn a_host_port_leads_to_the_pod() {
    if !needs_nft() {
        return;
    }
    let Some(mut daemon) = Daemon::start() else { return };
    let (tcp, udp) = (v1::Protocol::Tcp, v1::Protocol::Udp);
    let ports = [(tcp, 8080, 80, ""), (udp, 8081, 80, ""), (tcp, 8082, 80, "127.0.0.1"), (tcp, 0, 81, "")];
    let pod = run(&daemon, with_ports(&daemon, "server", &ports));
    let server = daemon.run(&pod, "server", &["serve", "80", "here"]);
    let other = daemon.run_pod("other");
    let client = daemon.run(&other, "client", &["sleep", "600"]);
    // The host's own addresses: that of its bridge is one.
    let gateway: IpAddr = "10.86.0.1".parse().unwrap();
    let loopback: IpAddr = "127.0.0.1".parse().unwrap();
    let reached = |daemon: &Daemon| {
        for at in [loopback, gateway] {
            assert!(page_soon(daemon, SocketAddr::new(at, 8080)).starts_with("here, "), "{at}");
            let echo = eventually(SOON, "an echo", || datagram(daemon, SocketAddr::new(at, 8081)));
            assert_eq!(echo, "ping here", "{at}");
        }
    };
    reached(&daemon);
    assert!(page_soon(&daemon, SocketAddr::new(loopback, 8082)).starts_with("here, "));
    assert!(page(&daemon, SocketAddr::new(gateway, 8082)).is_err(), "at one address only");
    let from_pod = |container: &str| said(&daemon, container, &["fetch", &format!("{gateway}:8080")]);
    assert!(from_pod(&client).starts_with("here, "), "from another pod");
    assert!(from_pod(&server).starts_with("here, "), "from itself");

    let taken = daemon.client().run_pod_sandbox(ask::run(&with_ports(&daemon, "late", &ports[..1])));
    let taken = taken.unwrap_err();
    assert!(taken.message().contains("host port TCP 8080") && taken.message().contains(&pod.id), "{taken}");
    let listener = daemon.network().listen("0.0.0.0:9000");
    let of_host =
        daemon.client().run_pod_sandbox(ask::run(&with_ports(&daemon, "late", &[(tcp, 9000, 1, "")])));
    assert!(of_host.unwrap_err().message().contains("a process of the host"));
    drop(listener);

    // The host's firewall was flushed by somebody: a new daemon puts it right.
    daemon.network().run(&["nft", "flush", "ruleset"]);
    daemon.restart();
    eventually(SOON, "the table", || {
        daemon.network().run(&["nft", "list", "ruleset"]).contains("8080").then_some(())
    });
    reached(&daemon);

    daemon.client().stop_pod_sandbox(ask::stop_pod(&pod.id)).unwrap();
    assert!(page(&daemon, SocketAddr::new(loopback, 8080)).is_err());
    run(&daemon, with_ports(&daemon, "late", &ports));
}

#[test]
fn a_pods_settings_are_its_own() {
    let Some(daemon) = Daemon::start() else { return };
    let mut config = ask::pod("sysctl", &daemon.path("logs"));
    let settings = [
        ("net.core.somaxconn", "77"),
        ("kernel/shm_rmid_forced", "1"),
        ("net.ipv4.ip_unprivileged_port_start", "1000"),
    ];
    config.linux.as_mut().unwrap().sysctls =
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let pod = run(&daemon, config);
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    for (name, value) in settings.iter().chain(&[("net.ipv4.ping_group_range", "0\t2147483647")]) {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        assert_eq!(said(&daemon, &id, &["cat", &path]), *value, "{name}");
    }
    let plain = daemon.run_pod("plain");
    let id = daemon.run(&plain, "c", &["sleep", "600"]);
    assert_eq!(said(&daemon, &id, &["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"]), "0");
    assert_ne!(said(&daemon, &id, &["cat", "/proc/sys/net/core/somaxconn"]), "77");

    let refused = |name: &str, change: fn(&mut v1::NamespaceOption)| {
        let mut config = ask::pod("refused", &daemon.path("logs"));
        let mut options =
            v1::NamespaceOption { pid: v1::NamespaceMode::Container as i32, ..Default::default() };
        change(&mut options);
        let linux = config.linux.as_mut().unwrap();
        linux.sysctls = [(name.to_owned(), "1".to_owned())].into();
        linux.security_context =
            Some(v1::LinuxSandboxSecurityContext { namespace_options: Some(options), ..Default::default() });
        let error = daemon.client().run_pod_sandbox(ask::run(&config)).unwrap_err();
        assert!(error.code() == Code::InvalidArgument && error.message().contains(name), "{error}");
    };
    refused("kernel.hostname", |_| {});
    refused("net.ipv4.ip_forward", |options| options.network = v1::NamespaceMode::Node as i32);
    refused("kernel.shmmax", |options| options.ipc = v1::NamespaceMode::Node as i32);
    refused("net/../kernel/hostname", |_| {});
    let mut unknown = ask::pod("unknown", &daemon.path("logs"));
    unknown.linux.as_mut().unwrap().sysctls = [("net.no_such".to_owned(), "1".to_owned())].into();
    let error = daemon.client().run_pod_sandbox(ask::run(&unknown)).unwrap_err();
    assert!(error.message().contains("net/no_such"), "{error}");
}

#[test]
fn the_kubelets_range_is_taken_and_kept() {
    let Some(mut daemon) = Daemon::start() else { return };
    let before = daemon.run_pod("before");
    let update = |daemon: &Daemon, range: &str| {
        let network_config = Some(v1::NetworkConfig { pod_cidr: range.to_owned() });
        daemon.client().update_runtime_config(v1::UpdateRuntimeConfigRequest {
            runtime_config: Some(v1::RuntimeConfig { network_config }),
        })
    };
    let at_first = addresses(&daemon, &before.id)[0];
    update(&daemon, "").unwrap();
    assert_eq!(update(&daemon, "10.1.2.0").unwrap_err().code(), Code::InvalidArgument);
    update(&daemon, "10.123.4.0/24").unwrap();
    let first = |daemon: &Daemon, pod: &Pod| addresses(daemon, &pod.id)[0].to_string();
    let after = daemon.run_pod("after");
    assert!(first(&daemon, &after).starts_with("10.123.4."));
    daemon.restart();
    let later = daemon.run_pod("later");
    assert!(
        first(&daemon, &later).starts_with("10.123.4.") && first(&daemon, &later) != first(&daemon, &after)
    );
    assert_eq!(addresses(&daemon, &before.id)[0], at_first);
    // Pods of both ranges reach each other.
    daemon.run(&before, "server", &["serve", "80", "old"]);
    let client = daemon.run(&later, "client", &["sleep", "600"]);
    let at = SocketAddr::new(at_first, 80);
    page_soon(&daemon, at);
    assert!(said(&daemon, &client, &["fetch", &at.to_string()]).starts_with("old, "));
    daemon.remove_pods();
    // What the kubelet told stays, and with it one file.
    std::fs::remove_file(daemon.path("root/pod_ranges")).unwrap();
    daemon.restart();
    daemon.run_pod("again");
}

#[test]
fn a_flow_of_datagrams_follows_the_host_port() {
    if !needs_nft() {
        return;
    }
    let Some(daemon) = Daemon::start() else { return };
    let at: SocketAddr = "10.86.0.1:5353".parse().unwrap();
    // It begins before there is a pod, and never stops.
    let socket = daemon.network().datagrams("10.86.0.1:4000");
    socket.set_read_timeout(Some(DATAGRAM)).unwrap();
    let ask = || -> Option<String> {
        socket.send_to(b"ping ", at).ok()?;
        let mut bytes = [0; 64];
        let (length, _) = socket.recv_from(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    };
    assert_eq!(ask(), None);
    let ports = [(v1::Protocol::Udp, 5353, 80, "")];
    for name in ["first", "second"] {
        let pod = run(&daemon, with_ports(&daemon, name, &ports));
        daemon.run(&pod, "server", &["serve", "80", name]);
        let wanted = format!("ping {name}");
        eventually(SOON, &format!("the {name} pod's echo"), || (ask()? == wanted).then_some(()));
        daemon.client().stop_pod_sandbox(ask::stop_pod(&pod.id)).unwrap();
    }
}

#[test]
fn packets_are_no_larger_than_what_the_host_can_send() {
    let Some(daemon) = Daemon::start() else { return };
    let size = |pod: &Pod| {
        let id = daemon.run(pod, "c", &["sleep", "600"]);
        said(&daemon, &id, &["cat", "/sys/class/net/eth0/mtu"])
    };
    assert_eq!(size(&daemon.run_pod("before")), "1500");
    for words in [
        &["ip", "link", "add", "uplink", "mtu", "1400", "type", "veth", "peer", "name", "end"][..],
        &["ip", "addr", "add", "192.0.2.2/24", "dev", "uplink"],
        &["ip", "link", "set", "uplink", "up"],
        &["ip", "link", "set", "end", "up"],
        &["ip", "route", "add", "default", "via", "192.0.2.1"],
    ] {
        daemon.network().run(words);
    }
    assert_eq!(size(&daemon.run_pod("after")), "1400");
    daemon.network().run(&["ip", "link", "del", "uplink"]);
}

#[test]
fn a_range_is_used_up_and_given_back() {
    let options = Options {
        set: vec!["bridge.subnet=10.9.9.0/29".into(), "bridge.subnet6=none".into()],
        ..Options::default()
    };
    let Some(daemon) = Daemon::start_with(options) else { return };
    let pods: Vec<Pod> = (0..5).map(|nr| daemon.run_pod(&format!("p{nr}"))).collect();
    let found: BTreeSet<IpAddr> = pods.iter().flat_map(|pod| addresses(&daemon, &pod.id)).collect();
    assert_eq!(found.len(), 5);
    let config = ask::pod("late", &daemon.path("logs"));
    let error = daemon.client().run_pod_sandbox(ask::run(&config)).unwrap_err();
    assert!(error.message().contains("10.9.9.0/29"), "{error}");
    daemon.client().stop_pod_sandbox(ask::stop_pod(&pods[2].id)).unwrap();
    let given = addresses(&daemon, &run(&daemon, config).id);
    assert!(found.contains(&given[0]));
}

#[test]
fn what_others_take_away_does_not_stop_a_stop() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("p");
    let pin = daemon.path("netns").join(format!("{}-{}", daemon.instance(), pod.id));
    nix::mount::umount2(&pin, nix::mount::MntFlags::MNT_DETACH).unwrap();
    let links = daemon.network().run(&["ip", "-o", "link"]);
    if let Some(link) = links
        .lines()
        .filter_map(|line| line.split([' ', '@']).nth(1))
        .find(|l| l.starts_with("tf") && !l.starts_with("tfb"))
    {
        within(SOON, || {
            daemon
                .network()
                .output(std::process::Command::new("ip").args(["link", "del", link]))
                .status
                .success()
                .then_some(())
        });
    }
    daemon.client().stop_pod_sandbox(ask::stop_pod(&pod.id)).unwrap();
    daemon.client().stop_pod_sandbox(ask::stop_pod(&pod.id)).unwrap();
    // A file where the pin was is no namespace, and nothing is done to it but its removal.
    let pod = daemon.run_pod("q");
    daemon.run(&pod, "c", &["exit", "0"]);
}

#[test]
fn many_pods_come_and_go() {
    let Some(mut daemon) = Daemon::start() else { return };
    let count = if host::full() { 500 } else { 100 };
    let pods: Vec<Pod> = (0..count).map(|nr| daemon.run_pod(&format!("p{nr}"))).collect();
    let all = |daemon: &Daemon| -> BTreeSet<IpAddr> {
        pods.iter().flat_map(|pod| addresses(daemon, &pod.id)).collect()
    };
    let found = all(&daemon);
    assert!(found.len() >= count, "each has its own");
    daemon.restart();
    assert_eq!(all(&daemon), found);
    let more = daemon.run_pod("more");
    assert!(addresses(&daemon, &more.id).iter().all(|address| !found.contains(address)));
}
