//! What is refused, by name; and the few defaults that matter.

use cri_api::v1;

use tonic::Status;

use super::{container_config, sandbox_config};
use crate::{
    container::{ContainerConfig, GroupsPolicy, PidMode, Seccomp},
    oci::spec::{CapabilitySet, Controllers, HostLimits, SecurityModules},
    sandbox::{SandboxConfig, Sharing},
};

fn host() -> HostLimits {
    HostLimits {
        capabilities: CapabilitySet(u64::MAX),
        least_oom_score_adj: 0,
        cgroup_v2: true,
        modules: SecurityModules::default(),
        controllers: Controllers::default(),
        pids_limit: 0,
        hidden: vec![],
    }
}

fn to_sandbox(config: Option<&v1::PodSandboxConfig>) -> Result<SandboxConfig, Status> {
    sandbox_config(config, "", SecurityModules::default())
}

fn to_container(config: Option<&v1::ContainerConfig>) -> Result<ContainerConfig, Status> {
    container_config(config, &host())
}

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
    to_sandbox(Some(&config)).unwrap_err().message().to_owned()
}

fn refused_container(change: impl FnOnce(&mut v1::ContainerConfig)) -> String {
    let mut config = container();
    change(&mut config);
    to_container(Some(&config)).unwrap_err().message().to_owned()
}

#[test]
fn the_least_wishes_are_granted() {
    let config = to_sandbox(Some(&sandbox())).unwrap();
    assert_eq!((config.network, config.pid), (Sharing::Pod, Sharing::Pod), "the wire's zero");
    let config = to_container(Some(&container())).unwrap();
    assert!(config.security.masked_paths.contains(&"/proc/kcore".to_owned()));
}

#[test]
fn what_is_missing_is_named() {
    assert!(to_sandbox(None).unwrap_err().message().contains("config is missing"));
    assert!(refused_sandbox(|c| c.metadata = None).contains("config.metadata"));
    assert!(refused_container(|c| c.image = None).contains("config.image"));
    assert!(
        refused_container(|c| c.metadata = Some(v1::ContainerMetadata::default())).contains("metadata.name")
    );
}

fn with_security(change: impl FnOnce(&mut v1::LinuxContainerSecurityContext)) -> v1::ContainerConfig {
    let mut context = v1::LinuxContainerSecurityContext::default();
    change(&mut context);
    let mut config = container();
    config.linux = Some(v1::LinuxContainerConfig { security_context: Some(context), resources: None });
    config
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    assert!(refused_container(|c| c.cdi_devices.push(v1::CdiDevice::default())).contains("CDI_devices"));
    assert!(
        refused_sandbox(|c| {
            let sysctls = [("kernel.hostname".to_owned(), "1".to_owned())].into();
            c.linux = Some(v1::LinuxPodSandboxConfig { sysctls, ..v1::LinuxPodSandboxConfig::default() });
        })
        .contains("sysctls")
    );
    let own_users = v1::UserNamespace { mode: v1::NamespaceMode::Pod as i32, ..v1::UserNamespace::default() };
    let options = v1::NamespaceOption { userns_options: Some(own_users), ..v1::NamespaceOption::default() };
    let config = with_security(|s| s.namespace_options = Some(options));
    assert!(to_container(Some(&config)).unwrap_err().message().contains("userns_options"));
    let label = v1::SeLinuxOption { level: "s0".into(), ..v1::SeLinuxOption::default() };
    let config = with_security(|s| s.selinux_options = Some(label));
    assert!(to_container(Some(&config)).is_ok(), "SELinux is off: nothing to label");
    let modules = SecurityModules { selinux: true, apparmor: false };
    let with_selinux = HostLimits { modules, ..host() };
    assert!(container_config(Some(&config), &with_selinux).unwrap_err().message().contains("selinux"));
}

fn profile(kind: v1::security_profile::ProfileType, path: &str) -> Option<v1::SecurityProfile> {
    Some(v1::SecurityProfile { profile_type: kind as i32, localhost_ref: path.to_owned() })
}

#[test]
fn profiles_in_both_forms() {
    use v1::security_profile::ProfileType::{Localhost, RuntimeDefault, Unconfined};
    let seccomp = |field: Option<v1::SecurityProfile>, words: &str| {
        let config = with_security(|s| {
            s.seccomp = field;
            #[allow(deprecated, reason = "old clients still send it")]
            words.clone_into(&mut s.seccomp_profile_path);
        });
        to_container(Some(&config)).map(|config| config.security.seccomp).map_err(|e| e.message().to_owned())
    };
    assert_eq!(seccomp(None, ""), Ok(Seccomp::Unconfined));
    assert_eq!(seccomp(None, "docker/default"), Ok(Seccomp::RuntimeDefault));
    assert_eq!(seccomp(None, "localhost//p/x.json"), Ok(Seccomp::Localhost("/p/x.json".into())));
    assert_eq!(seccomp(profile(Unconfined, ""), "runtime/default"), Ok(Seccomp::Unconfined));
    assert_eq!(seccomp(profile(Localhost, "/p"), ""), Ok(Seccomp::Localhost("/p".into())));
    for bad in [
        seccomp(profile(Localhost, ""), ""),
        seccomp(profile(Localhost, "/a/../b"), ""),
        seccomp(profile(RuntimeDefault, "/p"), ""),
        seccomp(None, "localhost/relative"),
        seccomp(None, "something"),
    ] {
        assert!(bad.unwrap_err().contains("seccomp"));
    }
    let apparmor =
        |kind, path: &str| to_container(Some(&with_security(|s| s.apparmor = profile(kind, path)))).is_ok();
    assert!(apparmor(RuntimeDefault, "") && apparmor(Unconfined, "") && !apparmor(Localhost, "x"));
}

#[test]
fn users_groups_and_pids() {
    let one = |change: fn(&mut v1::LinuxContainerSecurityContext)| {
        to_container(Some(&with_security(change))).map(|c| c.security).map_err(|e| e.message().to_owned())
    };
    assert!(
        one(|s| s.run_as_group = Some(v1::Int64Value { value: 1 })).unwrap_err().contains("run_as_group")
    );
    assert!(
        one(|s| s.run_as_user = Some(v1::Int64Value { value: 4_294_967_295 }))
            .unwrap_err()
            .contains("run_as_user")
    );
    let named = one(|s| {
        s.run_as_username = "web".into();
        s.run_as_group = Some(v1::Int64Value { value: 1 });
        s.supplemental_groups_policy = v1::SupplementalGroupsPolicy::Strict as i32;
    })
    .unwrap();
    assert_eq!((named.run_as_username.as_str(), named.groups_policy), ("web", GroupsPolicy::Strict));
    assert_eq!(one(|_| {}).unwrap().pid, PidMode::Inherit);
    assert_eq!(
        one(|s| s.namespace_options = Some(v1::NamespaceOption::default())).unwrap().pid,
        PidMode::Pod
    );
    let target = |id: &str| v1::NamespaceOption {
        pid: v1::NamespaceMode::Target as i32,
        target_id: id.into(),
        ..v1::NamespaceOption::default()
    };
    let pid = |id: &str| to_container(Some(&with_security(|s| s.namespace_options = Some(target(id)))));
    assert_eq!(pid("abc").unwrap().security.pid, PidMode::Target("abc".into()));
    assert!(pid("").unwrap_err().message().contains("target_id"));
}

#[test]
fn limits_are_checked() {
    let asked = |change: fn(&mut v1::LinuxContainerResources)| {
        let mut resources = v1::LinuxContainerResources::default();
        change(&mut resources);
        let linux = v1::LinuxContainerConfig { resources: Some(resources), security_context: None };
        let config = v1::ContainerConfig { linux: Some(linux), ..container() };
        to_container(Some(&config)).map(|c| c.resources).map_err(|e| e.message().to_owned())
    };
    let page = |size: &str| vec![v1::HugepageLimit { page_size: size.into(), limit: 0 }];
    assert_eq!(
        asked(|r| r.hugepage_limits = vec![v1::HugepageLimit { page_size: "2MB".into(), limit: 7 }])
            .unwrap()
            .hugepages["2MB"],
        7
    );
    assert!(asked(|r| r.unified = [("memory.oom.group".into(), "1".into())].into()).is_ok());
    for key in ["../x", "memory/max", "cgroup.procs", "memory", ".x", "a..b"] {
        let mut resources = v1::LinuxContainerResources::default();
        resources.unified.insert(key.into(), "1".into());
        assert!(super::resources::resources(&resources, true).is_err(), "{key}");
        assert!(super::resources::resources(&resources, false).is_err(), "{key}");
    }
    for size in ["", "MB", "2mb", "x2MB", "2"] {
        let resources = v1::LinuxContainerResources { hugepage_limits: page(size), ..Default::default() };
        assert!(super::resources::resources(&resources, true).is_err(), "{size}");
    }
    assert!(
        asked(|r| (r.memory_limit_in_bytes, r.memory_swap_limit_in_bytes) = (2, 1))
            .unwrap_err()
            .contains("swap")
    );
}

#[test]
fn mounts_and_devices_are_checked() {
    let mount = |change: fn(&mut v1::Mount)| {
        let mut mount =
            v1::Mount { container_path: "/in".into(), host_path: "/out".into(), ..v1::Mount::default() };
        change(&mut mount);
        let config = v1::ContainerConfig { mounts: vec![mount], ..container() };
        to_container(Some(&config)).map(|mut c| c.mounts.remove(0)).map_err(|e| e.message().to_owned())
    };
    assert_eq!(mount(|m| m.container_path = "in".into()).unwrap().container_path, "/in");
    assert!(mount(|m| m.selinux_relabel = true).unwrap().selinux_relabel);
    for bad in [
        mount(|m| m.container_path = "/".into()),
        mount(|m| m.container_path = "/a/../..".into()),
        mount(|m| m.recursive_read_only = true),
        mount(|m| (m.recursive_read_only, m.readonly, m.propagation) = (true, true, 1)),
        mount(|m| m.image = Some(v1::ImageSpec::default())),
    ] {
        assert!(bad.unwrap_err().contains("config.mounts"));
    }
    let device = |letters: &str| {
        let device =
            v1::Device { container_path: "/a".into(), host_path: "/b".into(), permissions: letters.into() };
        to_container(Some(&v1::ContainerConfig { devices: vec![device], ..container() })).is_ok()
    };
    assert!(device("rwm") && device("r") && !device("") && !device("x"));
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
    assert_eq!(to_container(Some(&config)).unwrap().stop_signal.as_deref(), Some("SIGRTMIN+3"));
}
