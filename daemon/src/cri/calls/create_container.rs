//! CreateContainer: checks and resolves everything and makes it; starts nothing. A retry joins the one in
//! flight or gets its result.
//!
//! Never: a process.

use cri_api::v1;
use tonic::Status;

use crate::{
    clock::now_nanos,
    container::{
        ContainerConfig, ContainerError, ContainerFacts, Containers, FACTS_VERSION, NewContainer, PidMode,
        Target, signal_number,
    },
    cri::{
        convert::{container_config, required},
        error,
    },
    ids::new_id,
    image::{Image, Images},
    oci::spec::{self, ImageDefaults, PidPlace},
    sandbox::{Sandbox, Sandboxes},
};

/// The signal that asks a container to stop where nobody names one.
const DEFAULT_STOP_SIGNAL: &str = "SIGTERM";

pub(in crate::cri) async fn handle(
    sandboxes: &Sandboxes,
    images: &Images,
    containers: &Containers,
    request: v1::CreateContainerRequest,
) -> Result<v1::CreateContainerResponse, Status> {
    let wanted = required(&request.pod_sandbox_id, "pod_sandbox_id")?;
    let config = container_config(request.config.as_ref(), &containers.parts().host)?;
    let sandbox = sandboxes.get(&wanted).map_err(error::sandbox)?;
    let lease = sandbox.lease().await.map_err(error::sandbox)?;
    let not_there = || {
        let image = &config.image;
        Status::not_found(format!(
            "image {image} is not there: pull it first, or import it (taffrail image import FILE)"
        ))
    };
    let image = images.find(&config.image).ok_or_else(not_there)?;
    let pin = images.pin(&image.id).ok_or_else(not_there)?;
    let defaults = defaults(&image);
    let facts = facts(&sandbox, config, &image, &defaults, containers).map_err(error::container)?;
    spec::check(&facts, &sandbox.facts).map_err(|e| error::container(e.into()))?;
    let recursive = facts.config.mounts.iter().any(|mount| mount.recursive_read_only);
    let parts = containers.parts();
    if recursive && !parts.features.recursive_read_only(&parts.handlers, &facts.runtime).await {
        return Err(error::container(ContainerError::NotRecursive { runtime: facts.runtime }));
    }
    let target = match &facts.config.security.pid {
        PidMode::Target(wanted) => {
            Some(Target::find(containers, &facts.sandbox_id, wanted).map_err(error::container)?)
        }
        PidMode::Inherit | PidMode::Pod | PidMode::Container | PidMode::Node => None,
    };
    let new = NewContainer { facts, sandbox: sandbox.facts.clone(), image, defaults, target, pin, lease };
    let container = containers.create(new).await.map_err(error::container)?;
    Ok(v1::CreateContainerResponse { container_id: container.facts.id.clone() })
}

fn defaults(image: &Image) -> ImageDefaults {
    let Some(config) = image.config.config() else { return ImageDefaults::default() };
    ImageDefaults {
        entrypoint: config.entrypoint().clone().unwrap_or_default(),
        cmd: config.cmd().clone().unwrap_or_default(),
        env: config.env().clone().unwrap_or_default(),
        working_dir: config.working_dir().clone().unwrap_or_default(),
        user: config.user().clone().unwrap_or_default(),
        stop_signal: config.stop_signal().clone().unwrap_or_default(),
    }
}

fn facts(
    sandbox: &Sandbox,
    config: ContainerConfig,
    image: &Image,
    defaults: &ImageDefaults,
    containers: &Containers,
) -> Result<ContainerFacts, ContainerError> {
    let parts = containers.parts();
    let pod = &sandbox.facts.config;
    let signal = config
        .stop_signal
        .as_deref()
        .or(Some(defaults.stop_signal.as_str()).filter(|signal| !signal.is_empty()))
        .unwrap_or(DEFAULT_STOP_SIGNAL);
    let stop_signal =
        signal_number(signal).ok_or_else(|| ContainerError::UnknownSignal(signal.to_owned()))?;
    let log_path = if pod.log_directory.is_empty() || config.log_path.is_empty() {
        String::new()
    } else {
        format!("{}/{}", pod.log_directory.trim_end_matches('/'), config.log_path)
    };
    let parent =
        if pod.cgroup_parent.is_empty() { parts.cgroups.default_parent() } else { pod.cgroup_parent.clone() };
    Ok(ContainerFacts {
        version: FACTS_VERSION,
        id: new_id(),
        sandbox_id: sandbox.facts.id.clone(),
        runtime: parts.handlers.resolve(&pod.handler)?,
        cgroup_parent: parent,
        image_id: image.id.clone(),
        image_ref: image.repo_digests.first().unwrap_or(&image.id).clone(),
        image_name: image_name(&config, image),
        log_path,
        shares_pids: PidPlace::of(&config.security.pid, pod.pid)?.outlives_init(),
        image_user: defaults.user.clone(),
        image_volumes: image.config.config().as_ref().and_then(|c| c.volumes().clone()).unwrap_or_default(),
        stop_signal,
        created_at: now_nanos(),
        config,
    })
}

/// The name a user knows: the one in the pod's spec, else a tag, else what was asked.
fn image_name(config: &ContainerConfig, image: &Image) -> String {
    if !config.user_specified_image.is_empty() {
        return config.user_specified_image.clone();
    }
    image.repo_tags.first().unwrap_or(&config.image).clone()
}
