//! The run procedure: from a wish to a ready sandbox. It reads downward; what a failure leaves behind is
//! `reclaim`'s.
//!
//! Owns: the order of steps. Never: policy, undoing.

use std::{io, path::Path, sync::Arc};

use protocol::ids::SandboxId;

use super::{Parts, PodInit, SandboxError, SandboxFacts, Sharing, lifecycle::Event};
use crate::{
    network, shims,
    steps::attempt,
    store, sys,
    tasks::{Pool, blocking, foreign_folder},
};

/// Size of a pod's /dev/shm in bytes: what other runtimes give; the pod's memory limit counts it.
const SHM_BYTES: u64 = 64 << 20;

/// What a pod's own network is set to where the pod does not say otherwise: its processes may use low ports and ping
/// without a capability, and no router's word is taken (CVE-2020-10749).
const NETWORK_DEFAULTS: [(&str, &str); 4] = [
    ("net/ipv4/ip_unprivileged_port_start", "0"),
    ("net/ipv4/ping_group_range", "0 2147483647"),
    ("net/ipv6/conf/all/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
];

pub(super) async fn run(facts: Arc<SandboxFacts>, parts: Arc<Parts>) -> (Event, Option<SandboxError>) {
    match make(&facts, &parts).await {
        Ok(()) => (Event::RunDone, None),
        Err(error) => (Event::RunFailed, Some(error)),
    }
}

async fn make(facts: &Arc<SandboxFacts>, parts: &Arc<Parts>) -> Result<(), SandboxError> {
    let id = SandboxId::parse(&facts.id).map_err(|e| SandboxError::step(&facts.id, "id", e))?;
    let disk_attempt = |name: &'static str, work: fn(&SandboxFacts, &Parts, &SandboxId) -> io::Result<()>| {
        let (facts, parts, id) = (facts.clone(), parts.clone(), id.clone());
        async move {
            let done = attempt(
                name,
                blocking(Pool::Disk, {
                    let facts = facts.clone();
                    move || work(&facts, &parts, &id)
                }),
            );
            done.await.map_err(|e| SandboxError::step(&facts.id, name, e))
        }
    };
    disk_attempt("sandbox.facts", remember).await?;
    disk_attempt("sandbox.files", write_files).await?;
    if !facts.config.log_directory.is_empty() {
        let made = foreign_folder("sandbox.log_folder", facts.config.log_directory.clone().into()).await;
        made.map_err(|e| SandboxError::step(&facts.id, "sandbox.log_folder", e))?;
    }
    attempt("sandbox.namespaces", namespaces(facts, parts, &id))
        .await
        .map_err(|e| SandboxError::step(&facts.id, "sandbox.namespaces", e))?;
    if facts.config.network == Sharing::Pod {
        let failed = |e: String| SandboxError::step(&facts.id, "sandbox.network", e);
        let attached = attempt("sandbox.network", parts.networks.attach(&id, &facts.config));
        let addresses = attached.await.map_err(|e| failed(e.to_string()))?;
        let (path, config) = (parts.layout.hosts(&id), facts.config.clone());
        let write = move || file(&path, &network::hosts(&config, &addresses)?);
        blocking(Pool::Disk, write).await.map_err(|e| failed(format!("the pod's /etc/hosts: {e}")))?;
    }
    disk_attempt("sandbox.ready", |_, parts, id| store::replace(&parts.layout.sandbox_ready(id), b"")).await
}

fn remember(facts: &SandboxFacts, parts: &Parts, id: &SandboxId) -> io::Result<()> {
    store::make_dir(&parts.layout.sandbox(id))?;
    store::sync_dir(&parts.layout.sandboxes())?;
    store::replace_json(&parts.layout.sandbox_facts(id), facts)?;
    // It must be possible to stop it even when the disk is full by then.
    store::reserve(&parts.layout.sandbox_stopped(id), 0)
}

fn write_files(facts: &SandboxFacts, parts: &Parts, id: &SandboxId) -> io::Result<()> {
    let layout = &parts.layout;
    store::make_dir(&layout.sandbox_state(id))?;
    store::put_json(&layout.sandbox_facts_copy(id), facts)?;
    let config = &facts.config;
    file(&layout.hosts(id), &network::hosts(config, &[])?)?;
    file(&layout.hostname(id), &network::hostname(config)?)?;
    file(&layout.resolv_conf(id), &network::resolv_conf(config)?)?;
    if config.ipc != Sharing::Node {
        store::make_dir(&layout.shm(id))?;
        sys::mounts::shm(&layout.shm(id), SHM_BYTES)?;
    }
    Ok(())
}

/// A file that every process of the pod may read. Gone after a reboot, so it is not synced.
fn file(path: &Path, text: &str) -> io::Result<()> {
    use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt};
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)?;
    file.write_all(text.as_bytes())
}

async fn namespaces(facts: &SandboxFacts, parts: &Parts, id: &SandboxId) -> Result<(), String> {
    let program = parts.shims.program().path();
    let wishes = wishes(facts, parts, id);
    if !wishes.is_empty() {
        shims::pin_namespaces(&program, &wishes).await?;
    }
    if facts.config.pid != Sharing::Pod {
        return Ok(());
    }
    let place = PodInit::of(facts, &parts.cgroups).map_err(|e| e.to_string())?;
    let order = init_wishes(facts, parts, id);
    shims::start_init(&program, &order, move |pid| place.take_in(pid)).await
}

/// The init program's lines: it lives in the namespaces that the pod has.
fn init_wishes(facts: &SandboxFacts, parts: &Parts, id: &SandboxId) -> String {
    let layout = &parts.layout;
    let mut lines = format!("pid={}\n", layout.pid_pin(id).display());
    let own_network = facts.config.network != Sharing::Node;
    for (own, pin) in [
        (own_network, layout.net_pin(id)),
        (own_network, layout.uts_pin(id)),
        (facts.config.ipc != Sharing::Node, layout.ipc_pin(id)),
    ] {
        if own {
            lines.push_str(&format!("join={}\n", pin.display()));
        }
    }
    lines
}

/// The pin program's lines.
fn wishes(facts: &SandboxFacts, parts: &Parts, id: &SandboxId) -> String {
    let mut lines = Vec::new();
    let layout = &parts.layout;
    if facts.config.network != Sharing::Node {
        lines.push(format!("net={}", layout.net_pin(id).display()));
        lines.push(format!("uts={}", layout.uts_pin(id).display()));
        if !facts.config.hostname.is_empty() {
            lines.push(format!("hostname={}", facts.config.hostname));
        }
    }
    if facts.config.ipc != Sharing::Node {
        lines.push(format!("ipc={}", layout.ipc_pin(id).display()));
    }
    let asked = &facts.config.sysctls;
    lines.extend(asked.iter().map(|(path, value)| format!("sysctl={path}={value}")));
    if facts.config.network != Sharing::Node {
        let rest = NETWORK_DEFAULTS.iter().filter(|(path, _)| !asked.contains_key(*path));
        lines.extend(rest.map(|(path, value)| format!("default={path}={value}")));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}
