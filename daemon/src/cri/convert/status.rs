//! From the domain's views to what the kubelet reads.
//!
//! A status is never invented: a loss is 255 with a reason. Never: a field that is not true.

use std::{collections::HashMap, net::IpAddr};

use cri_api::v1;
use protocol::exit_record::{ExitRecord, ExitStatus};

use crate::{
    container::{
        Container, ContainerFacts, Propagation, RESTARTED, Resources, STATE_LOST, User, View,
        lifecycle::State,
    },
    image::Image,
    oci::exit_code_of,
    sandbox::{Sandbox, SandboxFacts, SandboxName, Sharing, lifecycle::State as SandboxState},
};

pub(super) fn map(labels: &std::collections::BTreeMap<String, String>) -> HashMap<String, String> {
    labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(super) fn sandbox_metadata(name: &SandboxName) -> v1::PodSandboxMetadata {
    v1::PodSandboxMetadata {
        name: name.name.clone(),
        uid: name.uid.clone(),
        namespace: name.namespace.clone(),
        attempt: name.attempt,
    }
}

pub(in crate::cri) fn sandbox_state(state: SandboxState) -> v1::PodSandboxState {
    match state {
        SandboxState::Ready => v1::PodSandboxState::SandboxReady,
        SandboxState::Creating
        | SandboxState::Stopping
        | SandboxState::Undone
        | SandboxState::NotReady
        | SandboxState::Reclaiming
        | SandboxState::Gone => v1::PodSandboxState::SandboxNotready,
    }
}

pub(in crate::cri) fn pod_sandbox(sandbox: &Sandbox) -> v1::PodSandbox {
    let facts = &sandbox.facts;
    v1::PodSandbox {
        id: facts.id.clone(),
        metadata: Some(sandbox_metadata(&facts.config.name)),
        state: sandbox_state(sandbox.state()) as i32,
        created_at: facts.created_at,
        labels: map(&facts.config.labels),
        annotations: map(&facts.config.annotations),
        runtime_handler: facts.config.handler.clone(),
    }
}

/// The pod's addresses; a pod on the host's network has none of its own.
fn network_status(addresses: &[IpAddr]) -> v1::PodSandboxNetworkStatus {
    let mut texts = addresses.iter().map(ToString::to_string);
    v1::PodSandboxNetworkStatus {
        ip: texts.next().unwrap_or_default(),
        additional_ips: texts.map(|ip| v1::PodIp { ip }).collect(),
    }
}

pub(in crate::cri) fn pod_sandbox_status(
    facts: &SandboxFacts,
    state: SandboxState,
    addresses: &[IpAddr],
) -> v1::PodSandboxStatus {
    let mode = |sharing: Sharing| match sharing {
        Sharing::Pod => v1::NamespaceMode::Pod as i32,
        Sharing::Container => v1::NamespaceMode::Container as i32,
        Sharing::Node => v1::NamespaceMode::Node as i32,
    };
    let config = &facts.config;
    let options = v1::NamespaceOption {
        network: mode(config.network),
        pid: mode(config.pid),
        ipc: mode(config.ipc),
        target_id: String::new(),
        userns_options: None,
    };
    v1::PodSandboxStatus {
        id: facts.id.clone(),
        metadata: Some(sandbox_metadata(&config.name)),
        state: sandbox_state(state) as i32,
        created_at: facts.created_at,
        network: Some(network_status(addresses)),
        linux: Some(v1::LinuxPodSandboxStatus { namespaces: Some(v1::Namespace { options: Some(options) }) }),
        labels: map(&config.labels),
        annotations: map(&config.annotations),
        runtime_handler: config.handler.clone(),
    }
}

pub(in crate::cri) fn container_state(view: &View) -> v1::ContainerState {
    match view.state {
        State::Creating | State::Created | State::Starting => v1::ContainerState::ContainerCreated,
        State::Running | State::Stopping => v1::ContainerState::ContainerRunning,
        State::Unknown => v1::ContainerState::ContainerUnknown,
        State::Exited | State::Reclaiming | State::Gone => v1::ContainerState::ContainerExited,
    }
}

pub(super) fn container_metadata(facts: &ContainerFacts) -> v1::ContainerMetadata {
    let name = &facts.config.name;
    v1::ContainerMetadata { name: name.name.clone(), attempt: name.attempt }
}

fn image_spec(facts: &ContainerFacts) -> v1::ImageSpec {
    v1::ImageSpec {
        image: facts.image_name.clone(),
        user_specified_image: facts.config.user_specified_image.clone(),
        ..v1::ImageSpec::default()
    }
}

pub(in crate::cri) fn container_item(container: &Container, view: &View) -> v1::Container {
    let facts = &container.facts;
    v1::Container {
        id: facts.id.clone(),
        pod_sandbox_id: facts.sandbox_id.clone(),
        metadata: Some(container_metadata(facts)),
        image: Some(image_spec(facts)),
        image_ref: facts.image_ref.clone(),
        image_id: facts.image_id.clone(),
        state: container_state(view) as i32,
        created_at: facts.created_at,
        labels: map(&facts.config.labels),
        annotations: map(&facts.config.annotations),
    }
}

/// Exit code, reason, message.
fn ending(record: &ExitRecord) -> (i32, &'static str, String) {
    let (code, reason) = match &record.status {
        ExitStatus::Exited(0) => (0, "Completed"),
        ExitStatus::Exited(code) => (i32::from(*code), "Error"),
        ExitStatus::Signaled(signal) => (128 + i32::from(*signal), "Error"),
        ExitStatus::StartFailed => (exit_code_of(&record.message), "StartError"),
        ExitStatus::NeverStarted => (137, "Error"),
        ExitStatus::Lost if record.message == RESTARTED => (255, "NodeReboot"),
        ExitStatus::Lost if record.message == STATE_LOST => (255, "StateLost"),
        ExitStatus::Lost => (255, "Unknown"),
    };
    let killed = matches!(record.status, ExitStatus::Exited(_) | ExitStatus::Signaled(_));
    let reason = if killed && record.oom_kills > 0 && code != 0 { "OOMKilled" } else { reason };
    (code, reason, record.message.clone())
}

pub(in crate::cri) fn container_status(container: &Container, view: &View) -> v1::ContainerStatus {
    let facts = &container.facts;
    let config = &facts.config;
    let (exit_code, reason, message) = match &view.exit {
        Some(record) => ending(record),
        // Never 0 for an end that nobody has seen.
        None if container_state(view) == v1::ContainerState::ContainerExited => {
            (255, "Unknown", String::from("there is no record of its end"))
        }
        None => Default::default(),
    };
    let signal = format!("SIG{}", signal_name(facts.stop_signal));
    v1::ContainerStatus {
        id: facts.id.clone(),
        metadata: Some(container_metadata(facts)),
        state: container_state(view) as i32,
        created_at: facts.created_at,
        started_at: view.started_at,
        finished_at: view.exit.as_ref().map_or(0, |record| record.at),
        exit_code,
        image: Some(image_spec(facts)),
        image_ref: facts.image_ref.clone(),
        image_id: facts.image_id.clone(),
        reason: reason.to_owned(),
        message,
        labels: map(&config.labels),
        annotations: map(&config.annotations),
        mounts: config.mounts.iter().map(mount).collect(),
        log_path: facts.log_path.clone(),
        resources: Some(resources(&view.resources)),
        user: Some(user(&view.user)),
        stop_signal: v1::Signal::from_str_name(&signal).unwrap_or(v1::Signal::RuntimeDefault) as i32,
    }
}

/// The name of a signal as protobuf spells it, without SIG.
fn signal_name(number: u8) -> String {
    match number {
        34 => "RTMIN".to_owned(),
        35..=49 => format!("RTMINPLUS{}", number - 34),
        50..=63 => format!("RTMAXMINUS{}", 64 - number),
        64 => "RTMAX".to_owned(),
        number => nix::sys::signal::Signal::try_from(i32::from(number)).map_or_else(
            |_| "TERM".to_owned(),
            |signal| signal.as_str().trim_start_matches("SIG").to_owned(),
        ),
    }
}

fn mount(mount: &crate::container::Mount) -> v1::Mount {
    let propagation = match mount.propagation {
        Propagation::Private => v1::MountPropagation::PropagationPrivate,
        Propagation::HostToContainer => v1::MountPropagation::PropagationHostToContainer,
        Propagation::Bidirectional => v1::MountPropagation::PropagationBidirectional,
    };
    v1::Mount {
        container_path: mount.container_path.clone(),
        host_path: mount.host_path.clone(),
        readonly: mount.readonly,
        recursive_read_only: mount.recursive_read_only,
        selinux_relabel: mount.selinux_relabel,
        propagation: propagation as i32,
        ..v1::Mount::default()
    }
}

fn resources(asked: &Resources) -> v1::ContainerResources {
    let linux = v1::LinuxContainerResources {
        cpu_period: asked.cpu_period,
        cpu_quota: asked.cpu_quota,
        cpu_shares: asked.cpu_shares,
        memory_limit_in_bytes: asked.memory_limit,
        memory_swap_limit_in_bytes: asked.memory_swap_limit,
        oom_score_adj: asked.oom_score_adj,
        cpuset_cpus: asked.cpuset_cpus.clone(),
        cpuset_mems: asked.cpuset_mems.clone(),
        hugepage_limits: asked.hugepages.iter().map(hugepage).collect(),
        unified: map(&asked.unified),
    };
    v1::ContainerResources { linux: Some(linux), windows: None }
}

fn hugepage((page_size, limit): (&String, &u64)) -> v1::HugepageLimit {
    v1::HugepageLimit { page_size: page_size.clone(), limit: *limit }
}

fn user(user: &User) -> v1::ContainerUser {
    let linux = v1::LinuxContainerUser {
        uid: i64::from(user.uid),
        gid: i64::from(user.gid),
        supplemental_groups: user.groups.iter().map(|gid| i64::from(*gid)).collect(),
    };
    v1::ContainerUser { linux: Some(linux) }
}

pub(in crate::cri) fn image(image: &Image, pinned: bool) -> v1::Image {
    let user = image.config.config().as_ref().and_then(|c| c.user().clone()).unwrap_or_default();
    let user = user.split(':').next().unwrap_or_default().to_owned();
    // Digits only: "+0" is a name.
    let uid = user.parse::<i64>().ok().filter(|_| user.bytes().all(|b| b.is_ascii_digit()));
    v1::Image {
        id: image.id.clone(),
        repo_tags: image.repo_tags.clone(),
        repo_digests: image.repo_digests.clone(),
        size: image.size,
        uid: uid.map(|value| v1::Int64Value { value }),
        username: if uid.is_some() { String::new() } else { user },
        spec: Some(v1::ImageSpec {
            image: image.id.clone(),
            annotations: map(&image.annotations),
            ..v1::ImageSpec::default()
        }),
        pinned,
    }
}
