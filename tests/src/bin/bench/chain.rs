//! The CNI chain that both sides use, bridge, portmap and firewall; and how long its plugins take by themselves, which
//! nobody who calls them can be faster than.
//!
//! Never: a path outside the benchmark's folders.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use serde_json::{Value, json};
use tests::{network::Network, nursery::Nursery};

use crate::{limits::FLOOR_ROUNDS, median::Values};

/// Where Debian, and where others, put the plugins.
const FOLDERS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// The folder of plugins; `None`: there are none here.
pub(crate) fn plugins() -> Option<PathBuf> {
    FOLDERS.iter().map(PathBuf::from).find(|folder| folder.join("bridge").is_file())
}

/// The network; `addresses`: where the plugins keep those that they gave.
pub(crate) fn network(addresses: &Path) -> Value {
    let ipam = json!({
        "type": "host-local",
        "dataDir": addresses,
        "ranges": [[{ "subnet": "10.88.0.0/16" }]],
        "routes": [{ "dst": "0.0.0.0/0" }],
    });
    json!({ "cniVersion": "0.4.0", "name": "bench", "plugins": [
        { "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": ipam },
        { "type": "portmap", "capabilities": { "portMappings": true } },
        { "type": "firewall" },
    ] })
}

/// Writes it as the configuration of this folder, which is made.
#[expect(clippy::disallowed_methods, reason = "the benchmark's own file; nobody reads half of it")]
pub(crate) fn configure(folder: &Path, addresses: &Path) {
    fs::create_dir_all(folder).expect("the benchmark's folder can be written");
    fs::write(folder.join("10-bench.conflist"), network(addresses).to_string())
        .expect("the benchmark's folder can be written");
}

/// A process that does nothing in a network namespace of its own.
fn sleeper(network: &Network) -> Child {
    let start = || Command::new("unshare").args(["-n", "sleep", "600"]).spawn();
    network.inside(start).expect("unshare comes with every Linux")
}

/// Calls the chain once; what the last plugin answers.
fn call(network: &Network, folder: &Path, list: &Value, command: &str, id: &str, netns: &str) {
    let mut plugins: Vec<&Value> = list["plugins"].as_array().into_iter().flatten().collect();
    if command == "DEL" {
        plugins.reverse();
    }
    let mut previous: Option<Value> = None;
    for plugin in plugins {
        let mut input = plugin.clone();
        input["name"] = list["name"].clone();
        input["cniVersion"] = list["cniVersion"].clone();
        if let Some(previous) = previous.take() {
            input["prevResult"] = previous;
        }
        let mut run = Command::new(folder.join(plugin["type"].as_str().unwrap_or_default()));
        run.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("CNI_PATH", folder);
        run.env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", id)
            .env("CNI_NETNS", netns)
            .env("CNI_IFNAME", "eth0");
        run.stdin(Stdio::piped()).stdout(Stdio::piped());
        let output = network.inside(|| {
            let mut child = run.spawn()?;
            child.stdin.take().map(|mut stdin| stdin.write_all(input.to_string().as_bytes())).transpose()?;
            child.wait_with_output()
        });
        let output = output.expect("a plugin can be run");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stdout));
        previous = serde_json::from_slice(&output.stdout).ok();
    }
}

/// Milliseconds of ADD and DEL of the chain by itself.
pub(crate) fn floor(add: &mut Values, del: &mut Values) {
    let Some(folder) = plugins() else { return };
    let data = tempfile::Builder::new().prefix("tb.").tempdir_in("/tmp").expect("/tmp can be written");
    let list = network(data.path());
    let mut nursery = Nursery::new();
    let network = nursery.network();
    for nr in 0..=FLOOR_ROUNDS {
        let mut child = sleeper(&network);
        let (id, netns) = (format!("floor{nr}"), format!("/proc/{}/ns/net", child.id()));
        let timed = |command: &str, values: &mut Values| {
            let begin = Instant::now();
            call(&network, &folder, &list, command, &id, &netns);
            // The first makes what stays.
            if nr > 0 {
                values.add(begin.elapsed().as_secs_f64() * 1000.0);
            }
        };
        // Until it is in a namespace of its own.
        let own = fs::read_link(format!("/proc/{}/ns/net", nursery.pid())).ok();
        tests::eventually::eventually(tests::limits::SOON, "a network namespace", || {
            (fs::read_link(&netns).ok() != own).then_some(())
        });
        timed("ADD", add);
        timed("DEL", del);
        child.kill().expect("our own child");
        child.wait().expect("our own child");
    }
    nursery.close();
}
