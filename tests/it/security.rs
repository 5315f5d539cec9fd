//! What a container may do: capabilities, profiles of system calls, privileges, hidden paths.

use std::fs;

use cri_api::v1::{self, security_profile::ProfileType};
use tests::{
    ask, cri_log,
    daemon::{Daemon, Pod},
    image_file::{BUSYBOX, DEMO, Extra},
    workload::{self, import, refused, run, script, security},
};
use tonic::Code;

/// Numbers of x86_64 (the tests' host): socket, sethostname, unshare, clone3, io_uring_setup, personality.
const SOCKET: &str = "41";
const SETHOSTNAME: &str = "170";
const UNSHARE: &str = "272";
const CLONE3: &str = "435";
const IO_URING_SETUP: &str = "425";
const PERSONALITY: &str = "135";
const EPERM: &str = "1";
const ENOSYS: &str = "38";

fn profile(kind: ProfileType, path: &str) -> Option<v1::SecurityProfile> {
    Some(v1::SecurityProfile { profile_type: kind as i32, localhost_ref: path.to_owned() })
}

fn caps(add: &[&str], drop: &[&str]) -> Option<v1::Capability> {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Some(v1::Capability {
        add_capabilities: owned(add),
        drop_capabilities: owned(drop),
        ..Default::default()
    })
}

fn seen(
    daemon: &Daemon,
    pod: &Pod,
    name: &str,
    words: &str,
    change: impl FnOnce(&mut v1::LinuxContainerSecurityContext),
) -> Vec<String> {
    let mut config = script(name, BUSYBOX, words);
    change(security(&mut config));
    run(daemon, pod, &config).lines
}

/// One line of /proc/self/status.
fn field(name: &str) -> String {
    format!("grep {name}: /proc/self/status | tr -d '\\t ' | tr ':' ' '")
}

/// The number of the error of one system call in a container.
fn errno(
    daemon: &Daemon,
    pod: &Pod,
    name: &str,
    call: &[&str],
    change: impl FnOnce(&mut v1::LinuxContainerSecurityContext),
) -> String {
    let args: Vec<&str> = std::iter::once("call").chain(call.iter().copied()).collect();
    let mut config = ask::container(name, DEMO, &args);
    change(security(&mut config));
    run(daemon, pod, &config).lines.join(" ")
}

/// A pod whose containers may be privileged.
fn privileged_pod(daemon: &Daemon) -> Pod {
    let mut config = ask::pod("strong", &daemon.path("logs"));
    let linux = config.linux.as_mut().expect("a kubelet gives it");
    linux.security_context.get_or_insert_default().privileged = true;
    let answer = daemon.client().run_pod_sandbox(ask::run(&config));
    Pod { id: answer.unwrap_or_else(|e| panic!("{e}")).pod_sandbox_id, config }
}

#[test]
fn capabilities_are_added_and_dropped() {
    let Some(daemon) = workload::start() else { return };
    let pod = daemon.run_pod("p");
    let effective = field("CapEff");
    // Bits: CHOWN 0, NET_ADMIN 12, NET_RAW 13, SYS_RESOURCE 24.
    let mask = |lines: Vec<String>| {
        u64::from_str_radix(lines[0].split(' ').nth(1).expect("a value"), 16).expect("a mask")
    };
    let plain = mask(seen(&daemon, &pod, "plain", &effective, |_| {}));
    assert_eq!(plain, 0xa80425fb, "the default set: {plain:x}");
    let more = mask(seen(&daemon, &pod, "more", &effective, |s| {
        s.capabilities = caps(&["NET_ADMIN"], &["CAP_net_raw"])
    }));
    assert_eq!(more, (plain | 1 << 12) & !(1 << 13), "{more:x}");
    let none = mask(seen(&daemon, &pod, "none", &effective, |s| s.capabilities = caps(&[], &["ALL"])));
    assert_eq!(none, 0);
    let all = mask(seen(&daemon, &pod, "all", &effective, |s| s.capabilities = caps(&["ALL"], &[])));
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let bounding = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
    assert_eq!(all, u64::from_str_radix(bounding.trim(), 16).unwrap(), "all that the host has");
    // Another user than root keeps none, but the ambient ones.
    let as_user = |ambient: &'static str| {
        move |s: &mut v1::LinuxContainerSecurityContext| {
            s.run_as_user = Some(v1::Int64Value { value: 1000 });
            if !ambient.is_empty() {
                let add_ambient_capabilities = vec![ambient.to_owned()];
                s.capabilities = Some(v1::Capability { add_ambient_capabilities, ..Default::default() });
            }
        }
    };
    assert_eq!(mask(seen(&daemon, &pod, "user", &effective, as_user(""))), 0);
    assert_eq!(mask(seen(&daemon, &pod, "ambient", &effective, as_user("NET_BIND_SERVICE"))), 1 << 10);
    let mut config = script("bad", BUSYBOX, "true");
    security(&mut config).capabilities = caps(&["NO_SUCH"], &[]);
    let error = refused(&daemon, &pod, &config);
    assert!(error.code() == Code::InvalidArgument && error.message().contains("NO_SUCH"), "{error}");
}

#[test]
fn the_default_profile_refuses_what_reaches_the_kernel() {
    let Some(daemon) = workload::start() else { return };
    let pod = daemon.run_pod("p");
    let confined =
        |s: &mut v1::LinuxContainerSecurityContext| s.seccomp = profile(ProfileType::RuntimeDefault, "");
    assert_eq!(seen(&daemon, &pod, "mode", &field("Seccomp"), confined), ["Seccomp 2"]);
    assert_eq!(seen(&daemon, &pod, "none", &field("Seccomp"), |_| {}), ["Seccomp 0"]);
    let works = "id -u; ls / | head -n 1; echo x > /tmp/x; cat /tmp/x; (sleep 0.01); dd if=/dev/zero of=/dev/null bs=1k count=1 2>&1 | grep -c records";
    assert_eq!(seen(&daemon, &pod, "works", works, confined), ["0", "bin", "x", "2"], "programs run");
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    for (name, call, expected) in [
        ("alg", vec![SOCKET, "38", "5", "0"], ENOSYS),
        ("vsock", vec![SOCKET, "40", "1", "0"], ENOSYS),
        ("unix", vec![SOCKET, "1", "1", "0"], "0"),
        ("users", vec![UNSHARE, "268435456"], EPERM),
        ("files", vec![UNSHARE, "1024"], "0"),
        ("ring", vec![IO_URING_SETUP, "1", "0"], EPERM),
        ("clone3", vec![CLONE3, "0", "0"], ENOSYS),
        ("young", vec!["600"], ENOSYS),
        ("asked", vec![PERSONALITY, "4294967295"], "0"),
        ("changed", vec![PERSONALITY, "262144"], ENOSYS),
        ("name", vec![SETHOSTNAME, "0", "0"], EPERM),
    ] {
        assert_eq!(errno(&daemon, &pod, name, &call, confined), expected, "{name} {call:?}");
    }
    // A capability opens the calls that it is for.
    let admin = |s: &mut v1::LinuxContainerSecurityContext| {
        confined(s);
        s.capabilities = caps(&["SYS_ADMIN"], &[]);
    };
    assert_eq!(errno(&daemon, &pod, "admin", &[SETHOSTNAME, "0", "0"], admin), "0");
    assert_eq!(errno(&daemon, &pod, "space", &[UNSHARE, "67108864"], admin), "0");
    assert_eq!(errno(&daemon, &pod, "still", &[IO_URING_SETUP, "1", "0"], admin), EPERM);
}

#[test]
fn a_profile_of_a_file_counts() {
    let Some(daemon) = workload::start() else { return };
    let pod = daemon.run_pod("p");
    let file = daemon.path("profile.json");
    let good = serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }]
    });
    put(&file, good.to_string().as_bytes());
    let local = |path: String| {
        move |s: &mut v1::LinuxContainerSecurityContext| s.seccomp = profile(ProfileType::Localhost, &path)
    };
    let path = file.to_string_lossy().into_owned();
    let lines = seen(
        &daemon,
        &pod,
        "local",
        "mkdir /tmp/x || echo refused; touch /tmp/y && echo written",
        local(path.clone()),
    );
    assert_eq!(&lines[..2], ["refused", "written"], "{lines:?}");
    let pipe = daemon.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    put(&file, b"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"sycalls\":[]}");
    for (bad, word) in [
        (path, "sycalls"),
        (pipe.to_string_lossy().into_owned(), "regular"),
        ("/no/such/profile.json".to_owned(), "not there"),
        ("/etc".to_owned(), "regular"),
    ] {
        let mut config = script("bad", BUSYBOX, "true");
        local(bad.clone())(security(&mut config));
        let error = refused(&daemon, &pod, &config);
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().contains(&bad) && error.message().contains(word), "{error}");
    }
}

#[test]
fn privileged_has_all_and_needs_a_privileged_pod() {
    let Some(daemon) = workload::start() else { return };
    let weak = daemon.run_pod("weak");
    let mut config = script("c", BUSYBOX, "true");
    security(&mut config).privileged = true;
    let error = refused(&daemon, &weak, &config);
    assert!(error.code() == Code::InvalidArgument && error.message().contains("privileged"), "{error}");
    let strong = privileged_pod(&daemon);
    let look = format!(
        "{}; [ -c /dev/kmsg ] && echo devices; mkdir /tmp/m; mount -t tmpfs x /tmp/m && echo mounts; grep ' /sys ' /proc/mounts | grep -c 'rw,'; cat /proc/kcore | head -c 4 | grep -c ELF",
        field("Seccomp")
    );
    let lines = seen(&daemon, &strong, "c", &look, |s| {
        s.privileged = true;
        s.seccomp = profile(ProfileType::RuntimeDefault, "");
        s.masked_paths = vec!["/proc/kcore".to_owned()];
    });
    assert_eq!(&lines[..4], ["Seccomp 0", "devices", "mounts", "1"], "{lines:?}");
    // Beside it one that is not.
    let lines = seen(
        &daemon,
        &strong,
        "d",
        "[ -e /dev/kmsg ] || echo none; mount -t tmpfs x /tmp || echo refused",
        |_| {},
    );
    assert_eq!(&lines[..2], ["none", "refused"], "{lines:?}");
}

#[test]
fn paths_are_hidden_and_roots_read_only() {
    let Some(daemon) = workload::start() else { return };
    let pod = daemon.run_pod("p");
    let lines = seen(
        &daemon,
        &pod,
        "masked",
        "/bin/ls / || echo hidden; touch /tmp/x || echo kept; touch /etc/x && echo free",
        |s| {
            s.masked_paths = vec!["/bin/ls".to_owned()];
            s.readonly_paths = vec!["/tmp".to_owned()];
        },
    );
    assert_eq!(&lines[..3], ["hidden", "kept", "free"], "{lines:?}");
    let lines = seen(
        &daemon,
        &pod,
        "root",
        "touch /x || echo kept; touch /dev/shm/x && echo shared; cat /etc/hosts | grep -c localhost",
        |s| {
            s.readonly_rootfs = true;
        },
    );
    assert_eq!(&lines[..2], ["kept", "shared"], "{lines:?}");
    // Without a security context there are the kubelet's own.
    let mut config = script(
        "bare",
        BUSYBOX,
        "cat /proc/kcore | head -c 1 | wc -c; echo x > /proc/sys/kernel/hostname || echo kept",
    );
    config.linux = None;
    let bare = run(&daemon, &daemon.run_pod("bare"), &config).lines;
    assert!(bare.contains(&"kept".to_owned()), "{bare:?}");
}

#[test]
fn no_new_privileges_holds_setuid_programs_back() {
    let Some(mut daemon) = workload::start() else { return };
    let program = fs::read(tests::host::demo()).unwrap();
    let name = "taffrail.test/setuid:1";
    assert!(import(&mut daemon, name, &[Extra::Setuid("bin/whoever", &program)], &serde_json::json!({})));
    let pod = daemon.run_pod("p");
    let who = |container: &str, held: bool| {
        let mut config = ask::container(container, name, &[]);
        config.command = ["/bin/whoever", "id"].map(str::to_owned).into();
        let context = security(&mut config);
        context.run_as_user = Some(v1::Int64Value { value: 1000 });
        context.no_new_privs = held;
        let id = daemon.create(&pod, &config);
        daemon.client().start_container(ask::start(&id)).unwrap();
        daemon.exited(&id);
        cri_log::lines(&cri_log::read(&pod.log(container)), "stdout")
    };
    assert!(who("held", true)[0].starts_with("uid=1000 "));
    assert!(who("free", false)[0].starts_with("uid=0 "));
}

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
fn put(path: &std::path::Path, content: &[u8]) {
    fs::write(path, content).expect("the test's folder can be written");
}
