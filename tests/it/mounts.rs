//! What a container sees of the host: mounts with all their flags, devices, the image's volumes; and that nothing of
//! it leads out.

use std::{fs, os::unix::fs::symlink, path::Path};

use cri_api::v1;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tests::{
    ask,
    daemon::Daemon,
    image_file::{BUSYBOX, Extra},
    workload::{self, import, refused, run, script, security},
};
use tonic::Code;

fn bind(inside: &str, host: &Path) -> v1::Mount {
    v1::Mount {
        container_path: inside.to_owned(),
        host_path: host.to_string_lossy().into_owned(),
        ..Default::default()
    }
}

fn with(mut config: v1::ContainerConfig, mounts: &[v1::Mount]) -> v1::ContainerConfig {
    config.mounts = mounts.to_vec();
    config
}

fn folder(daemon: &Daemon, name: &str) -> std::path::PathBuf {
    let path = daemon.path(name);
    fs::create_dir_all(&path).expect("the test's folder can be written");
    path
}

/// A tmpfs that goes when the test does.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn at(path: &Path, propagation: MsFlags) -> Self {
        mount(Some("test"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("a tmpfs");
        mount(None::<&str>, path, None::<&str>, propagation, None::<&str>).expect("its propagation");
        Self(path.to_owned())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).ok();
    }
}

#[test]
fn files_folders_and_links_of_the_host_are_seen() {
    let Some(daemon) = workload::start() else { return };
    let pod = daemon.run_pod("p");
    let data = folder(&daemon, "data");
    put(&data.join("file"), b"hello");
    symlink(&data, daemon.path("link")).unwrap();
    let missing = daemon.path("not/there/yet");
    let mut readonly = bind("/ro", &data);
    readonly.readonly = true;
    let words = "cat /data/deep/file /file; echo; echo x > /data/deep/new; echo y > /ro/no || echo kept; touch /missing/x && echo made; cat /etc/hosts; stat -c %a /missing";
    let mounts = [
        // A deeper one before the one above it.
        bind("/data/deep", &daemon.path("link")),
        bind("/data", &folder(&daemon, "above")),
        bind("file", &data.join("file")),
        readonly,
        bind("/missing", &missing),
        bind("/etc/hosts", &data.join("file")),
    ];
    let ran = run(&daemon, &pod, &with(script("c", BUSYBOX, words), &mounts));
    assert_eq!(&ran.lines[..4], ["hellohello", "kept", "made", "hello755"], "{ran:?}");
    assert_eq!(fs::read(data.join("new")).unwrap(), b"x\n");
    assert!(missing.is_dir());
    let shown = &ran.status.mounts;
    assert_eq!(shown.len(), mounts.len(), "what was asked for, and nothing else");
    assert_eq!(shown[0].host_path, mounts[0].host_path, "as given, not as resolved");
    assert_eq!(shown[3], mounts[3]);
}

#[test]
fn read_only_is_for_the_top_or_for_all_below() {
    let Some(daemon) = workload::start() else { return };
    let pod = daemon.run_pod("p");
    let top = folder(&daemon, "top");
    let _top = Tmpfs::at(&top, MsFlags::MS_PRIVATE);
    let _below = Tmpfs::at(&folder(&daemon, "top/below"), MsFlags::MS_PRIVATE);
    let mut plain = bind("/in", &top);
    plain.readonly = true;
    let words = "touch /in/x || echo kept; touch /in/below/x && echo free || echo kept too";
    let ran = run(&daemon, &pod, &with(script("plain", BUSYBOX, words), &[plain.clone()]));
    assert_eq!(&ran.lines[..2], ["kept", "free"], "{ran:?}");
    let status = daemon.client().status(v1::StatusRequest::default()).unwrap();
    let default = status.runtime_handlers.iter().find(|handler| handler.name.is_empty()).unwrap();
    let mut recursive = plain;
    recursive.recursive_read_only = true;
    if default.features.as_ref().is_some_and(|features| features.recursive_read_only_mounts) {
        let ran = run(&daemon, &pod, &with(script("all", BUSYBOX, words), &[recursive.clone()]));
        assert_eq!(&ran.lines[..2], ["kept", "kept too"], "{ran:?}");
        assert_eq!(ran.status.mounts, [recursive.clone()]);
    } else {
        let error = refused(&daemon, &pod, &with(script("all", BUSYBOX, words), &[recursive.clone()]));
        assert!(error.message().contains("recursive_read_only"), "{error}");
    }
    for spoil in [
        (|m| m.readonly = false) as fn(&mut v1::Mount),
        |m| m.propagation = v1::MountPropagation::PropagationHostToContainer as i32,
        |m| m.propagation = v1::MountPropagation::PropagationBidirectional as i32,
    ] {
        let mut bad = recursive.clone();
        spoil(&mut bad);
        let error = refused(&daemon, &pod, &with(script("bad", BUSYBOX, "true"), &[bad]));
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    }
}

#[test]
fn mounts_travel_as_asked() {
    let Some(daemon) = workload::start() else { return };
    let pod = daemon.run_pod("p");
    let shared = folder(&daemon, "shared");
    let _shared = Tmpfs::at(&shared, MsFlags::MS_SHARED);
    let private = folder(&daemon, "private");
    let _private = Tmpfs::at(&private, MsFlags::MS_PRIVATE);
    let towards = |host: &Path, propagation: v1::MountPropagation| {
        let mut mount = bind("/in", host);
        mount.propagation = propagation as i32;
        mount
    };
    use v1::MountPropagation::{PropagationBidirectional, PropagationHostToContainer, PropagationPrivate};
    for (name, propagation, seen) in [
        ("private", PropagationPrivate, false),
        ("slave", PropagationHostToContainer, true),
        ("both", PropagationBidirectional, true),
    ] {
        let config = with(script(name, BUSYBOX, "exec sleep 600"), &[towards(&shared, propagation)]);
        let id = daemon.create(&pod, &config);
        daemon.client().start_container(ask::start(&id)).unwrap();
        let place = folder(&daemon, &format!("shared/{name}"));
        let _late = Tmpfs::at(&place, MsFlags::MS_SHARED);
        put(&place.join("late"), b"");
        let look = ["/bin/ls".to_owned(), format!("/in/{name}/late")];
        let look: Vec<&str> = look.iter().map(String::as_str).collect();
        let there = daemon.client().exec_sync(ask::exec(&id, &look, 10)).unwrap().exit_code == 0;
        assert_eq!(there, seen, "{name}");
        assert_eq!(daemon.status(&id).mounts, config.mounts);
        daemon.client().remove_container(ask::remove(&id)).unwrap();
    }
    for (host, propagation) in [(&private, PropagationHostToContainer), (&private, PropagationBidirectional)]
    {
        let error =
            refused(&daemon, &pod, &with(script("bad", BUSYBOX, "true"), &[towards(host, propagation)]));
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().contains(&*private.to_string_lossy()), "{error}");
    }
}

#[test]
fn devices_are_given_with_their_letters() {
    let Some(daemon) = workload::start() else { return };
    let pod = daemon.run_pod("p");
    symlink("/dev/zero", daemon.path("device")).unwrap();
    let device = |name: &str, host: &Path, letters: &str| {
        let mut config = script(
            name,
            BUSYBOX,
            "head -c 2 /dev/mine | wc -c; echo x > /dev/mine || echo kept; ls /dev/kmsg || echo none",
        );
        config.devices = vec![v1::Device {
            container_path: "/dev/mine".to_owned(),
            host_path: host.to_string_lossy().into_owned(),
            permissions: letters.to_owned(),
        }];
        config
    };
    // zero is among the ones that everybody has, so its letters do not count: kmsg has its own.
    let ran = run(&daemon, &pod, &device("zero", &daemon.path("device"), "r"));
    assert_eq!(&ran.lines[..2], ["2", "none"], "{ran:?}");
    let mut config = device("kmsg", Path::new("/dev/kmsg"), "w");
    config.command[2] = "head -c 1 /dev/mine || echo kept".to_owned();
    let ran = run(&daemon, &pod, &config);
    assert_eq!(ran.lines[0], "kept", "{ran:?}");
    for (bad, word) in [("/no/such", "/no/such"), ("/etc/passwd", "no device"), ("/etc", "no device")] {
        let error = refused(&daemon, &pod, &device("bad", Path::new(bad), "rwm"));
        assert!(error.code() == Code::InvalidArgument && error.message().contains(word), "{error}");
    }
    let error = refused(&daemon, &pod, &device("bad", Path::new("/dev/null"), "rx"));
    assert!(error.message().contains("permissions"), "{error}");
}

#[test]
fn an_images_volumes_are_the_containers_own() {
    let Some(mut daemon) = workload::start() else { return };
    let name = "taffrail.test/volumes:1";
    let files = [
        Extra::Folder("srv", 0o750),
        Extra::File("srv/seed", b"seed"),
        Extra::Link("srv/out", "/etc/shadow"),
        Extra::Link("away", "../../../../etc"),
        Extra::Folder("data", 0o755),
    ];
    let volumes = serde_json::json!({ "/srv": {}, "/fresh": {}, "/data": {}, "/away": {} });
    assert!(import(
        &mut daemon,
        name,
        &files,
        &serde_json::json!({ "Volumes": volumes, "WorkingDir": "/work/here" })
    ));
    let pod = daemon.run_pod("p");
    let words = "cat /srv/seed; echo; stat -c %a /srv; readlink /srv/out; touch /srv/x /fresh/x /away/x && echo writable; touch /x || echo kept; ls /data; pwd; readlink /etc/mtab; grep -c ' /srv ' /proc/mounts";
    let data = folder(&daemon, "data");
    put(&data.join("hosts-file"), b"");
    let mut config = with(script("c", name, words), &[bind("/data", &data)]);
    security(&mut config).readonly_rootfs = true;
    let ran = run(&daemon, &pod, &config);
    let expected =
        ["seed", "750", "/etc/shadow", "writable", "kept", "hosts-file", "/work/here", "/proc/mounts", "1"];
    assert_eq!(&ran.lines[..expected.len()], expected, "{ran:?}");
    assert_eq!(ran.status.mounts.len(), 1, "volumes are nobody's wish");
    let kept = daemon.path("root/containers").join(&ran.id).join("volumes");
    assert!(kept.join("0").is_dir());
    assert!(!Path::new("/etc/x").exists(), "nothing leads out of the image");
    daemon.client().remove_container(ask::remove(&ran.id)).unwrap();
    assert!(!kept.exists());
    for place in ["/proc", "/sys/kernel", "/dev/x", "/", "/a/../../b"] {
        let config = serde_json::json!({ "Volumes": { place: {} } });
        let name = "taffrail.test/bad:1";
        assert!(import(&mut daemon, name, &[], &config));
        let error = refused(&daemon, &pod, &script("bad", name, "true"));
        assert_eq!(error.code(), Code::InvalidArgument, "{place}: {error}");
        assert!(error.message().contains(place), "{error}");
    }
}

#[test]
fn ugly_mounts_lead_nowhere() {
    let Some(mut daemon) = workload::start() else { return };
    let pod = daemon.run_pod("p");
    let data = folder(&daemon, "data");
    let refuse = |config: &v1::ContainerConfig, word: &str| {
        let error = refused(&daemon, &pod, config);
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().contains(word), "{word} in {error}");
    };
    let one = |mount: v1::Mount| with(script("bad", BUSYBOX, "true"), &[mount]);
    refuse(&one(bind("/", &data)), "container_path");
    refuse(&one(bind("/a/../..", &data)), "container_path");
    refuse(&one(bind("/a", Path::new("relative"))), "host_path");
    refuse(&one(bind("/a", Path::new("/a/../b"))), "host_path");
    refuse(&one(bind(&format!("/{}", "a".repeat(5000)), &data)), "container_path");
    put(&data.join("file"), b"");
    refuse(&one(bind("/a", &data.join("file/below"))), "host_path");
    symlink("/no/such/target", data.join("dangling")).unwrap();
    refuse(&one(bind("/a", &data.join("dangling"))), "dangling");
    let mut image = bind("/a", &data);
    image.image = Some(v1::ImageSpec::default());
    refuse(&one(image), "config.mounts.image");
    // A link in the image leads to the image's own places.
    let name = "taffrail.test/links:1";
    let outside = folder(&daemon, "outside");
    let files = [Extra::Link("out", "../../../../../../../../tmp"), Extra::Link("abs", "/tmp")];
    assert!(import(&mut daemon, name, &files, &serde_json::json!({})));
    let mark = format!("taffrail-mark-{}", std::process::id());
    let words = format!("ls -d /tmp/{mark} /tmp/b");
    let mounts = [bind(&format!("/out/{mark}"), &outside), bind("/abs/b", &outside)];
    let ran = run(&daemon, &pod, &with(script("links", name, &words), &mounts));
    assert_eq!(ran.status.exit_code, 0, "{ran:?}");
    assert!(!Path::new("/tmp").join(&mark).exists(), "made on the host");
    for (at, root) in ["proc", "sys", "dev"].into_iter().enumerate() {
        let name = format!("taffrail.test/root{at}:1");
        assert!(import(&mut daemon, &name, &[Extra::Link(root, "tmp")], &serde_json::json!({})));
        let error = refused(&daemon, &pod, &script("bad", &name, "true"));
        assert!(error.message().contains(&format!("/{root}")), "{error}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
fn put(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("the test's folder can be written");
}
