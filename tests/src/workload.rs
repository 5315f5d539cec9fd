//! Containers of busybox that run a shell script, for tests of what a container sees and may do.
//!
//! Never: a default that a kubelet would not give.

use cri_api::v1;

use crate::{
    ask, cri_log,
    daemon::{Daemon, Pod},
    host,
    image_file::{BUSYBOX, Extra, write_busybox_with},
};

/// How a script ended.
#[derive(Debug)]
pub struct Ran {
    /// The container's id.
    pub id: String,
    /// Its status at the end.
    pub status: v1::ContainerStatus,
    /// What it wrote to stdout, and then to stderr.
    pub lines: Vec<String>,
}

/// A daemon with the image of busybox, and the image's name. `None`: the test is skipped.
pub fn start() -> Option<Daemon> {
    let mut daemon = Daemon::start()?;
    import(&mut daemon, BUSYBOX, &[], &serde_json::json!({})).then_some(daemon)
}

/// Imports an image of busybox with more in it, and lets it stay to the end; `false`: the host has none, the test is
/// skipped.
pub fn import(daemon: &mut Daemon, name: &str, extra: &[Extra<'_>], config: &serde_json::Value) -> bool {
    let imported = load(daemon, name, extra, config);
    if imported {
        daemon.settle();
    }
    imported
}

/// The same for a test that removes the image itself.
pub fn load(daemon: &Daemon, name: &str, extra: &[Extra<'_>], config: &serde_json::Value) -> bool {
    let file = daemon.path("busybox.tar");
    match write_busybox_with(&file, name, extra, config) {
        Some(written) => written.expect("the image can be written"),
        None => {
            host::skip("busybox", "no static busybox here");
            return false;
        }
    }
    daemon.import(&file);
    true
}

/// A container of this image with this script.
pub fn script(name: &str, image: &str, script: &str) -> v1::ContainerConfig {
    let mut config = ask::container(name, image, &[]);
    config.command = ["/bin/sh", "-c", script].map(str::to_owned).into();
    config
}

/// Its security context, to be changed. What the kubelet sends for a pod that asks for nothing.
pub fn security(config: &mut v1::ContainerConfig) -> &mut v1::LinuxContainerSecurityContext {
    let linux = config.linux.get_or_insert_default();
    linux.security_context.get_or_insert_with(|| v1::LinuxContainerSecurityContext {
        namespace_options: Some(ask::namespaces()),
        ..Default::default()
    })
}

/// Creates it, runs it to its end and reads its log.
pub fn run(daemon: &Daemon, pod: &Pod, config: &v1::ContainerConfig) -> Ran {
    let id = daemon.create(pod, config);
    daemon.client().start_container(ask::start(&id)).unwrap_or_else(|e| panic!("start: {e}"));
    let status = daemon.exited(&id);
    let records = cri_log::read(&pod.log(&status.metadata.as_ref().expect("a status has it").name));
    let mut lines = cri_log::lines(&records, "stdout");
    lines.extend(cri_log::lines(&records, "stderr"));
    Ran { id, status, lines }
}

/// Why it cannot be created.
pub fn refused(daemon: &Daemon, pod: &Pod, config: &v1::ContainerConfig) -> tonic::Status {
    let answer = daemon.client().create_container(ask::create(&pod.id, config, &pod.config));
    let error = answer.expect_err("it must be refused");
    let there = daemon.client().list_containers(v1::ListContainersRequest::default()).expect("a list");
    let name = &config.metadata.as_ref().expect("a name").name;
    let left = there.containers.iter().any(|c| c.metadata.as_ref().is_some_and(|m| m.name == *name));
    assert!(!left, "{name} was refused, but is there");
    error
}
