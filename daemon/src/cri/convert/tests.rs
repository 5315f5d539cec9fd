//! What is refused, by name; and the few defaults that matter.

use cri_api::v1;

use super::{container_config, sandbox_config};
use crate::sandbox::Sharing;

fn sandbox() -> v1::PodSandboxConfig {
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: "p".into(),
            namespace: "n".into(),
            uid: "u".into(),
            attempt: 0,
        }),
        ..v1::PodSandboxConfig::default()
    }
}

fn container() -> v1::ContainerConfig {
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: "c".into(), attempt: 0 }),
        image: Some(v1::ImageSpec { image: "i".into(), ..v1::ImageSpec::default() }),
        ..v1::ContainerConfig::default()
    }
}

fn refused_sandbox(change: impl FnOnce(&mut v1::PodSandboxConfig)) -> String {
    let mut config = sandbox();
    change(&mut config);
    sandbox_config(Some(&config), "").unwrap_err().message().to_owned()
}

fn refused_container(change: impl FnOnce(&mut v1::ContainerConfig)) -> String {
    let mut config = container();
    change(&mut config);
    container_config(Some(&config)).unwrap_err().message().to_owned()
}

#[test]
fn the_least_wishes_are_granted() {
    let config = sandbox_config(Some(&sandbox()), "").unwrap();
    assert_eq!((config.network, config.pid), (Sharing::Pod, Sharing::Container));
    let config = container_config(Some(&container())).unwrap();
    assert!(config.security.masked_paths.contains(&"/proc/kcore".to_owned()));
}

#[test]
fn what_is_missing_is_named() {
    assert!(sandbox_config(None, "").unwrap_err().message().contains("config is missing"));
    assert!(refused_sandbox(|c| c.metadata = None).contains("config.metadata"));
    assert!(refused_container(|c| c.image = None).contains("config.image"));
    assert!(
        refused_container(|c| c.metadata = Some(v1::ContainerMetadata::default())).contains("metadata.name")
    );
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let security = |change: fn(&mut v1::LinuxContainerSecurityContext)| {
        refused_container(|c| {
            let mut context = v1::LinuxContainerSecurityContext::default();
            change(&mut context);
            c.linux = Some(v1::LinuxContainerConfig { security_context: Some(context), resources: None });
        })
    };
    assert!(security(|s| s.privileged = true).contains("privileged"));
    assert!(security(|s| s.run_as_username = "www".into()).contains("run_as_username"));
    assert!(security(|s| s.seccomp = Some(v1::SecurityProfile::default())).contains("seccomp"));
    assert!(refused_container(|c| c.devices.push(v1::Device::default())).contains("devices"));
    assert!(
        refused_sandbox(|c| {
            let sysctls = [("kernel.x".to_owned(), "1".to_owned())].into();
            c.linux = Some(v1::LinuxPodSandboxConfig { sysctls, ..v1::LinuxPodSandboxConfig::default() });
        })
        .contains("sysctls")
    );
}

#[test]
fn paths_and_words_that_could_break_out_are_refused() {
    assert!(refused_sandbox(|c| c.log_directory = "/a/../b".into()).contains("log_directory"));
    assert!(refused_container(|c| c.log_path = "../x".into()).contains("log_path"));
    assert!(refused_sandbox(|c| c.hostname = "a\nb".into()).contains("hostname"));
    assert!(
        refused_sandbox(|c| {
            let servers = vec!["1.1.1.1\nsearch evil".into()];
            c.dns_config = Some(v1::DnsConfig { servers, ..v1::DnsConfig::default() });
        })
        .contains("dns_config.servers")
    );
    assert!(refused_container(|c| c.args = vec!["a\0b".into()]).contains("NUL"));
    let value = vec![0xff];
    assert!(refused_container(|c| c.envs = vec![v1::KeyValue { key: "A".into(), value }]).contains("UTF-8"));
}

#[test]
fn real_time_signals_are_spelled_back() {
    let mut config = container();
    config.stop_signal = v1::Signal::Sigrtminplus3 as i32;
    assert_eq!(container_config(Some(&config)).unwrap().stop_signal.as_deref(), Some("SIGRTMIN+3"));
}
