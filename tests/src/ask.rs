//! Requests as a kubelet makes them, with as few words as a test needs.
//!
//! Owns: the defaults of a test's pods and containers. Never: sends anything.

use std::path::Path;

use cri_api::v1;

/// A pod of this name; its logs go below `logs`.
pub fn pod(name: &str, logs: &Path) -> v1::PodSandboxConfig {
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            namespace: "test".to_owned(),
            attempt: 0,
        }),
        hostname: name.to_owned(),
        log_directory: logs.join(name).to_string_lossy().into_owned(),
        labels: [("io.kubernetes.pod.name".to_owned(), name.to_owned())].into(),
        linux: Some(v1::LinuxPodSandboxConfig {
            security_context: Some(v1::LinuxSandboxSecurityContext {
                namespace_options: Some(namespaces()),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// What the kubelet asks for by default: one network and IPC namespace a pod, one PID namespace a container.
pub fn namespaces() -> v1::NamespaceOption {
    v1::NamespaceOption { pid: v1::NamespaceMode::Container as i32, ..Default::default() }
}

/// A container of this name that runs the demo program with these arguments; its log is `NAME.log`.
pub fn container(name: &str, image: &str, args: &[&str]) -> v1::ContainerConfig {
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: Some(v1::ImageSpec {
            image: image.to_owned(),
            user_specified_image: image.to_owned(),
            ..Default::default()
        }),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        log_path: format!("{name}.log"),
        linux: Some(v1::LinuxContainerConfig::default()),
        ..Default::default()
    }
}

/// RunPodSandbox with the default handler.
pub fn run(config: &v1::PodSandboxConfig) -> v1::RunPodSandboxRequest {
    v1::RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() }
}

/// CreateContainer in this pod.
pub fn create(
    pod: &str,
    config: &v1::ContainerConfig,
    sandbox: &v1::PodSandboxConfig,
) -> v1::CreateContainerRequest {
    v1::CreateContainerRequest {
        pod_sandbox_id: pod.to_owned(),
        config: Some(config.clone()),
        sandbox_config: Some(sandbox.clone()),
    }
}

/// StartContainer.
pub fn start(id: &str) -> v1::StartContainerRequest {
    v1::StartContainerRequest { container_id: id.to_owned() }
}

/// UpdateContainerResources.
pub fn update(id: &str, limits: v1::LinuxContainerResources) -> v1::UpdateContainerResourcesRequest {
    v1::UpdateContainerResourcesRequest {
        container_id: id.to_owned(),
        linux: Some(limits),
        ..Default::default()
    }
}

/// StopContainer with this grace in seconds.
pub fn stop(id: &str, timeout: i64) -> v1::StopContainerRequest {
    v1::StopContainerRequest { container_id: id.to_owned(), timeout }
}

/// RemoveContainer.
pub fn remove(id: &str) -> v1::RemoveContainerRequest {
    v1::RemoveContainerRequest { container_id: id.to_owned() }
}

/// ContainerStatus.
pub fn status(id: &str) -> v1::ContainerStatusRequest {
    v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false }
}

/// StopPodSandbox.
pub fn stop_pod(id: &str) -> v1::StopPodSandboxRequest {
    v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() }
}

/// RemovePodSandbox.
pub fn remove_pod(id: &str) -> v1::RemovePodSandboxRequest {
    v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() }
}

/// PodSandboxStatus.
pub fn pod_status(id: &str) -> v1::PodSandboxStatusRequest {
    v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false }
}

/// ExecSync with a timeout in seconds; 0: none.
pub fn exec(id: &str, command: &[&str], timeout: i64) -> v1::ExecSyncRequest {
    let cmd = command.iter().map(|&word| word.to_owned()).collect();
    v1::ExecSyncRequest { container_id: id.to_owned(), cmd, timeout }
}

/// ImageStatus or RemoveImage of this name.
pub fn image(name: &str) -> Option<v1::ImageSpec> {
    Some(v1::ImageSpec { image: name.to_owned(), ..Default::default() })
}
