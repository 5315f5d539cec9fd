//! Golden specs: every field of config.json, for the shapes of container there are. `UPDATE_GOLDEN=1` rewrites.

use std::path::{Path, PathBuf};

use super::{CapabilitySet, HostLimits, ImageDefaults, PodFiles, SpecError, SpecInputs, generate, user};
use crate::{
    container::{ContainerConfig, ContainerFacts, ContainerName, Mount, Propagation, Resources, Security},
    sandbox::{SandboxConfig, SandboxFacts, SandboxName, Sharing},
};

pub(super) fn security() -> Security {
    Security {
        run_as_user: None,
        run_as_group: None,
        supplemental_groups: vec![],
        add_capabilities: vec![],
        drop_capabilities: vec![],
        readonly_rootfs: false,
        no_new_privs: false,
        masked_paths: vec!["/proc/kcore".into()],
        readonly_paths: vec!["/proc/sys".into()],
        pid: Sharing::Container,
    }
}

fn container() -> ContainerFacts {
    ContainerFacts {
        version: 1,
        id: "c1".into(),
        sandbox_id: "s1".into(),
        config: ContainerConfig {
            name: ContainerName { name: "web".into(), attempt: 0 },
            image: "busybox".into(),
            user_specified_image: String::new(),
            command: vec![],
            args: vec![],
            working_dir: String::new(),
            envs: vec![],
            mounts: vec![],
            labels: [].into(),
            annotations: [].into(),
            log_path: "web.log".into(),
            stdin: false,
            stdin_once: false,
            tty: false,
            resources: Resources::default(),
            security: security(),
            stop_signal: None,
        },
        runtime: "runc".into(),
        cgroup_parent: "/pods".into(),
        image_id: "sha256:1".into(),
        image_ref: "sha256:1".into(),
        image_name: "busybox".into(),
        log_path: "/log/web.log".into(),
        user: Default::default(),
        stop_signal: 15,
        created_at: 1,
    }
}

fn sandbox() -> SandboxFacts {
    SandboxFacts {
        version: 1,
        id: "s1".into(),
        config: SandboxConfig {
            name: SandboxName {
                name: "pod".into(),
                namespace: "default".into(),
                uid: "u1".into(),
                attempt: 0,
            },
            hostname: "pod".into(),
            log_directory: "/log".into(),
            labels: [].into(),
            annotations: [].into(),
            handler: String::new(),
            dns: None,
            network: Sharing::Pod,
            pid: Sharing::Container,
            ipc: Sharing::Pod,
            cgroup_parent: String::new(),
        },
        created_at: 1,
        boot_id: "b".into(),
    }
}

fn image() -> ImageDefaults {
    ImageDefaults {
        entrypoint: vec!["/entry".into()],
        cmd: vec!["serve".into()],
        env: vec!["PATH=/image".into(), "A=1".into()],
        working_dir: "/work".into(),
        user: "7:8".into(),
        stop_signal: String::new(),
    }
}

fn make(container: &ContainerFacts, sandbox: &SandboxFacts) -> Result<String, SpecError> {
    let p = Path::new;
    let spec = generate(&SpecInputs {
        container,
        sandbox,
        image: &image(),
        files: PodFiles {
            hosts: p("/state/hosts"),
            hostname: p("/state/hostname"),
            resolv_conf: p("/state/resolv.conf"),
            shm: p("/state/shm"),
            net: p("/netns/s1"),
            ipc: p("/state/ipc"),
            uts: p("/state/uts"),
        },
        rootfs: p("/state/rootfs"),
        cgroups_path: "/pods/c1",
        host: &HostLimits {
            capabilities: CapabilitySet(0x1ff_feff_ffff),
            least_oom_score_adj: 0,
            cgroup_v2: false,
        },
    })?;
    Ok(format!("{spec:#}\n"))
}

fn check(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/spec").join(name);
    crate::test_golden(&path, actual);
}

#[test]
fn a_container_that_asks_for_nothing() {
    check("plain.json", &make(&container(), &sandbox()).unwrap());
}

#[test]
fn a_container_that_asks_for_much() {
    let mut container = container();
    let config = &mut container.config;
    config.command = vec!["sh".into()];
    config.args = vec!["-c".into(), "true".into()];
    config.envs = vec![("A".into(), "2=3".into()), ("B".into(), String::new())];
    config.tty = true;
    config.working_dir = "/tmp".into();
    config.security.readonly_rootfs = true;
    config.security.no_new_privs = true;
    config.security.drop_capabilities = vec!["ALL".into()];
    config.security.add_capabilities = vec!["NET_ADMIN".into()];
    config.mounts = vec![
        Mount {
            container_path: "/data/deep".into(),
            host_path: "/host/deep".into(),
            readonly: true,
            propagation: Propagation::HostToContainer,
        },
        Mount {
            container_path: "/data".into(),
            host_path: "/host/data".into(),
            readonly: false,
            propagation: Propagation::Private,
        },
        Mount {
            container_path: "/etc/hosts".into(),
            host_path: "/kubelet/hosts".into(),
            readonly: false,
            propagation: Propagation::Private,
        },
    ];
    config.resources = Resources {
        cpu_period: 100_000,
        cpu_quota: 50_000,
        cpu_shares: 512,
        memory_limit: 64 << 20,
        memory_swap_limit: 64 << 20,
        oom_score_adj: -997,
        cpuset_cpus: "0".into(),
        cpuset_mems: String::new(),
    };
    container.user.additional_gids = vec![5, 6];
    check("much.json", &make(&container, &sandbox()).unwrap());
}

#[test]
fn a_pod_on_the_hosts_namespaces() {
    let (mut container, mut sandbox) = (container(), sandbox());
    container.config.security.pid = Sharing::Node;
    sandbox.config.network = Sharing::Node;
    sandbox.config.ipc = Sharing::Node;
    sandbox.config.pid = Sharing::Node;
    sandbox.config.hostname = String::new();
    check("host.json", &make(&container, &sandbox).unwrap());
}

#[test]
fn users_are_numbers_for_now() {
    let mut wish = security();
    assert_eq!(user(&wish, "").map(|u| (u.uid, u.gid)), Ok((0, 0)));
    assert_eq!(user(&wish, "7:8").map(|u| (u.uid, u.gid)), Ok((7, 8)));
    assert_eq!(user(&wish, "www"), Err(SpecError::UserByName("www".into())));
    wish.run_as_user = Some(1);
    assert_eq!(user(&wish, "www").map(|u| (u.uid, u.gid)), Ok((1, 0)));
    wish.run_as_group = Some(2);
    assert_eq!(user(&wish, "www").map(|u| (u.uid, u.gid)), Ok((1, 2)));
}
