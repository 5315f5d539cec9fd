//! Pods and containers of a daemon under test: asked for as a kubelet does, and a refusal fails the test.
//!
//! Owns: what was asked for a pod. Never: retries.

use std::path::{Path, PathBuf};

use cri_api::v1;

use super::Daemon;
use crate::{ask, eventually::eventually, image_file, limits::SOON};

impl Daemon {
    /// Runs a pod of this name with the default handler.
    pub fn run_pod(&self, name: &str) -> Pod {
        let config = ask::pod(name, &self.path("logs"));
        let answer =
            self.client.run_pod_sandbox(ask::run(&config)).unwrap_or_else(|e| panic!("pod {name}: {e}"));
        Pod { id: answer.pod_sandbox_id, config }
    }

    /// Creates a container in a pod.
    pub fn create(&self, pod: &Pod, config: &v1::ContainerConfig) -> String {
        let answer = self.client.create_container(ask::create(&pod.id, config, &pod.config));
        answer.unwrap_or_else(|e| panic!("create: {e}")).container_id
    }

    /// Creates and starts a container of the demo image with these arguments.
    pub fn run(&self, pod: &Pod, name: &str, args: &[&str]) -> String {
        let id = self.create(pod, &ask::container(name, image_file::DEMO, args));
        self.client.start_container(ask::start(&id)).unwrap_or_else(|e| panic!("start {name}: {e}"));
        id
    }

    /// Creates and starts a container of an image of busybox that sleeps.
    pub fn run_sleeper(&self, pod: &Pod, name: &str, image: &str) -> String {
        let mut config = ask::container(name, image, &[]);
        config.command = ["/bin/sleep", "600"].map(str::to_owned).into();
        let id = self.create(pod, &config);
        self.client.start_container(ask::start(&id)).unwrap_or_else(|e| panic!("start {name}: {e}"));
        id
    }

    /// The status of a container.
    pub fn status(&self, id: &str) -> v1::ContainerStatus {
        let answer =
            self.client.container_status(ask::status(id)).unwrap_or_else(|e| panic!("status of {id}: {e}"));
        answer.status.expect("an answer has a status")
    }

    /// Waits until a container has exited.
    pub fn exited(&self, id: &str) -> v1::ContainerStatus {
        eventually(SOON, "the container's exit", || {
            let status = self.status(id);
            (status.state() == v1::ContainerState::ContainerExited).then_some(status)
        })
    }

    /// Removes every pod.
    pub fn remove_pods(&self) {
        let list = self.client.list_pod_sandbox(v1::ListPodSandboxRequest::default());
        for pod in list.expect("the pods can be listed").items {
            self.client.stop_pod_sandbox(ask::stop_pod(&pod.id)).expect("a pod can be stopped");
            self.client.remove_pod_sandbox(ask::remove_pod(&pod.id)).expect("a pod can be removed");
        }
    }
}

/// A pod that runs.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Its id.
    pub id: String,
    /// What was asked for.
    pub config: v1::PodSandboxConfig,
}

impl Pod {
    /// Path of a container's log.
    pub fn log(&self, container: &str) -> PathBuf {
        Path::new(&self.config.log_directory).join(format!("{container}.log"))
    }
}
