//! Golden specs: every field of config.json, for the shapes of container there are. `UPDATE_GOLDEN=1` rewrites.

use std::path::{Path, PathBuf};

use super::{
    CapabilitySet, Controllers, DeviceNode, Found, HostLimits, ImageDefaults, PodFiles, SecurityModules,
    SpecError, SpecInputs, check as check_wish, generate,
};
use crate::{
    container::{
        ContainerConfig, ContainerFacts, ContainerName, GroupsPolicy, Mount, PidMode, Propagation, Resources,
        Seccomp, Security, User,
    },
    sandbox::{SandboxConfig, SandboxFacts, SandboxName, Sharing},
};

pub(crate) fn security() -> Security {
    Security {
        run_as_user: None,
        run_as_username: String::new(),
        run_as_group: None,
        supplemental_groups: vec![],
        groups_policy: GroupsPolicy::Merge,
        add_capabilities: vec![],
        drop_capabilities: vec![],
        ambient_capabilities: vec![],
        privileged: false,
        readonly_rootfs: false,
        no_new_privs: false,
        masked_paths: vec!["/proc/kcore".into()],
        readonly_paths: vec!["/proc/sys".into()],
        seccomp: Seccomp::Unconfined,
        pid: PidMode::Container,
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
            devices: vec![],
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
        shares_pids: false,
        image_user: String::new(),
        image_volumes: vec![],
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
            privileged: false,
            ports: Vec::new(),
            sysctls: std::collections::BTreeMap::new(),
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

fn host() -> HostLimits {
    HostLimits {
        capabilities: CapabilitySet(0x1ff_feff_ffff),
        least_oom_score_adj: 0,
        cgroup_v2: false,
        modules: SecurityModules::default(),
        controllers: Controllers { hugetlb: true, swap: true },
        pids_limit: 0,
        hidden: vec![],
    }
}

fn found() -> Found {
    let user = User { uid: 7, gid: 8, groups: vec![8], home: None };
    Found { user, hostname: "pod".into(), ..Found::default() }
}

fn make(container: &ContainerFacts, sandbox: &SandboxFacts) -> Result<String, SpecError> {
    make_with(container, sandbox, &host(), &found())
}

fn make_with(
    container: &ContainerFacts,
    sandbox: &SandboxFacts,
    host: &HostLimits,
    found: &Found,
) -> Result<String, SpecError> {
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
            pid: p("/state/pid"),
        },
        rootfs: p("/state/rootfs"),
        cgroups_path: "/pods/c1",
        host,
        found,
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
            recursive_read_only: false,
            selinux_relabel: true,
            propagation: Propagation::HostToContainer,
        },
        Mount {
            container_path: "/data".into(),
            host_path: "/host/data".into(),
            readonly: false,
            recursive_read_only: false,
            selinux_relabel: true,
            propagation: Propagation::Private,
        },
        Mount {
            container_path: "/etc/hosts".into(),
            host_path: "/kubelet/hosts".into(),
            readonly: false,
            recursive_read_only: false,
            selinux_relabel: true,
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
        hugepages: [("2MB".to_owned(), 0)].into(),
        unified: [].into(),
    };
    let mut found = found();
    found.user.groups = vec![5, 6, 8];
    found.user.home = Some("/srv".into());
    found.volumes = vec![("/data/volume".into(), "/root/volumes/0".into())];
    found.devices = vec![DeviceNode {
        path: "/dev/fuse".into(),
        block: false,
        numbers: (10, 229),
        mode: 0o666,
        owner: (0, 0),
        access: "rw".into(),
    }];
    let host = HostLimits { pids_limit: 100, ..host() };
    check("much.json", &make_with(&container, &sandbox(), &host, &found).unwrap());
}

#[test]
fn a_pod_on_the_hosts_namespaces() {
    let (mut container, mut sandbox) = (container(), sandbox());
    container.config.security.pid = PidMode::Node;
    sandbox.config.network = Sharing::Node;
    sandbox.config.ipc = Sharing::Node;
    sandbox.config.pid = Sharing::Node;
    sandbox.config.hostname = String::new();
    check("host.json", &make(&container, &sandbox).unwrap());
}

#[test]
fn a_confined_container_on_a_node_with_the_unified_hierarchy() {
    let mut container = container();
    container.config.security.seccomp = Seccomp::RuntimeDefault;
    container.config.security.pid = PidMode::Pod;
    container.config.resources.memory_limit = 64 << 20;
    container.config.resources.unified =
        [("memory.oom.group".to_owned(), "1".to_owned()), ("memory.swap.max".to_owned(), "0".to_owned())]
            .into();
    let mut sandbox = sandbox();
    sandbox.config.pid = Sharing::Pod;
    let host = HostLimits { cgroup_v2: true, ..host() };
    check("confined.json", &make_with(&container, &sandbox, &host, &found()).unwrap());
}

#[test]
fn a_privileged_container() {
    let (mut container, mut sandbox) = (container(), sandbox());
    container.config.security.privileged = true;
    container.config.security.seccomp = Seccomp::RuntimeDefault;
    assert_eq!(check_wish(&container, &sandbox), Err(SpecError::NotPrivileged));
    sandbox.config.privileged = true;
    check("privileged.json", &make(&container, &sandbox).unwrap());
}

#[test]
fn a_shared_pid_namespace_needs_a_pod_that_has_one() {
    let mut container = container();
    container.config.security.pid = PidMode::Pod;
    assert_eq!(check_wish(&container, &sandbox()), Err(SpecError::NoPodPids));
    container.config.security.pid = PidMode::Inherit;
    assert_eq!(check_wish(&container, &sandbox()), Ok(()));
}
