//! What bad input gets: a clear error with the right code, and nothing left behind (the harness looks).
//!
//! Hostile images have a module of their own.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
};

use cri_api::v1::{self, ContainerState};
use tests::{
    ask,
    daemon::{Daemon, Options},
    host, image_file,
    image_file::DEMO,
};
use tonic::Code;

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
fn put(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
}

/// The error must have this code and name this word.
fn refused<T: std::fmt::Debug>(answer: Result<T, tonic::Status>, code: Code, word: &str) {
    let error = answer.unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.message().contains(word), "{word:?} in {error}");
}

#[test]
fn an_unknown_handler_is_refused_by_name() {
    let Some(daemon) = Daemon::start() else { return };
    let mut request = ask::run(&ask::pod("p", &daemon.path("logs")));
    request.runtime_handler = "gvisor".to_owned();
    refused(daemon.client().run_pod_sandbox(request), Code::InvalidArgument, "gvisor");
    assert!(daemon.client().list_pod_sandbox(v1::ListPodSandboxRequest::default()).unwrap().items.is_empty());
}

#[test]
fn a_missing_image_is_not_found() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("p");
    let config = ask::container("c", "no/such:image", &[]);
    let error = daemon.client().create_container(ask::create(&pod.id, &config, &pod.config)).unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");
    assert!(error.message().contains("no/such:image"), "{error}");
    let status = v1::ImageStatusRequest { image: ask::image("no/such:image"), verbose: false };
    assert_eq!(daemon.client().image_status(status).unwrap().image, None, "absent is no error here");
    daemon.client().remove_image(v1::RemoveImageRequest { image: ask::image("no/such:image") }).unwrap();
}

#[test]
fn a_missing_program_leaves_an_exited_container_with_the_reason() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("p");
    let mut config = ask::container("c", DEMO, &[]);
    config.command = vec!["/no/such/program".to_owned()];
    let id = daemon.create(&pod, &config);
    let error = daemon.client().start_container(ask::start(&id)).unwrap_err();
    assert!(error.message().contains("/no/such/program"), "{error}");
    let status = daemon.status(&id);
    assert_eq!(status.state(), ContainerState::ContainerExited);
    assert!([127, 128].contains(&status.exit_code), "{status:?}");
    assert_eq!(status.reason, "StartError");
    assert!(status.message.contains("/no/such/program"), "{status:?}");
    assert!(status.finished_at >= status.created_at && status.finished_at > 0);
}

#[test]
fn a_file_that_is_no_program_leaves_126_or_128() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("p");
    let mut config = ask::container("c", DEMO, &[]);
    config.command = vec!["/tmp".to_owned()];
    let id = daemon.create(&pod, &config);
    daemon.client().start_container(ask::start(&id)).unwrap_err();
    let status = daemon.status(&id);
    assert!([126, 128].contains(&status.exit_code), "{status:?}");
}

#[test]
fn missing_and_empty_fields_are_named() {
    let Some(daemon) = Daemon::start() else { return };
    let client = daemon.client();
    let logs = daemon.path("logs");
    refused(client.run_pod_sandbox(v1::RunPodSandboxRequest::default()), Code::InvalidArgument, "config");
    let mut config = ask::pod("p", &logs);
    config.metadata = None;
    refused(client.run_pod_sandbox(ask::run(&config)), Code::InvalidArgument, "metadata");
    let mut config = ask::pod("", &logs);
    refused(client.run_pod_sandbox(ask::run(&config)), Code::InvalidArgument, "metadata.name");
    config = ask::pod("p", Path::new("relative"));
    refused(client.run_pod_sandbox(ask::run(&config)), Code::InvalidArgument, "log_directory");

    // Optional ones may all be missing.
    let bare = v1::PodSandboxConfig { metadata: ask::pod("bare", &logs).metadata, ..Default::default() };
    let pod = client.run_pod_sandbox(ask::run(&bare)).unwrap().pod_sandbox_id;
    let mut config = ask::container("c", DEMO, &["true"]);
    config.linux = None;
    config.log_path = String::new();
    let id = client.create_container(ask::create(&pod, &config, &bare)).unwrap().container_id;
    client.start_container(ask::start(&id)).unwrap();
    let status = daemon.exited(&id);
    assert_eq!((status.exit_code, status.log_path.as_str()), (0, ""));

    for (spoil, word) in [
        ((|c| c.metadata = None) as fn(&mut v1::ContainerConfig), "metadata"),
        (|c| c.image = None, "image"),
        (|c| c.log_path = "../../etc/passwd".to_owned(), "log_path"),
        (|c| c.envs = vec![v1::KeyValue { key: "A\0B".to_owned(), value: b"x".to_vec() }], "envs"),
        (|c| c.working_dir = "not/absolute".to_owned(), "working_dir"),
        (|c| c.stop_signal = 9999, "stop_signal"),
    ] {
        let mut config = ask::container("bad", DEMO, &[]);
        spoil(&mut config);
        refused(client.create_container(ask::create(&pod, &config, &bare)), Code::InvalidArgument, word);
    }
    let empty = ask::create("", &ask::container("c", DEMO, &[]), &bare);
    assert!(client.create_container(empty).is_err());
    let unknown = ask::create("unknown", &ask::container("c", DEMO, &[]), &bare);
    assert_eq!(client.create_container(unknown).unwrap_err().code(), Code::NotFound);
}

#[test]
fn what_is_not_supported_yet_is_refused_by_name() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("p");
    for (ask_for, word) in [
        (
            (|l| l.security_context.get_or_insert_default().privileged = true)
                as fn(&mut v1::LinuxContainerConfig),
            "privileged",
        ),
        (|l| l.security_context.get_or_insert_default().run_as_username = "www".to_owned(), "www"),
        (
            |l| l.resources.get_or_insert_default().hugepage_limits = vec![v1::HugepageLimit::default()],
            "hugepage",
        ),
        (
            |l| l.resources.get_or_insert_default().unified = [("a/b".to_owned(), "1".to_owned())].into(),
            "unified",
        ),
    ] {
        let mut config = ask::container("c", DEMO, &[]);
        ask_for(config.linux.as_mut().unwrap());
        let answer = daemon.client().create_container(ask::create(&pod.id, &config, &pod.config));
        refused(answer, Code::InvalidArgument, word);
    }
    let mut config = ask::pod("sysctl", &daemon.path("logs"));
    config.linux.as_mut().unwrap().sysctls = [("kernel.hostname".to_owned(), "x".to_owned())].into();
    refused(daemon.client().run_pod_sandbox(ask::run(&config)), Code::InvalidArgument, "sysctls");
}

#[test]
fn a_duplicate_name_with_another_wish_is_no_success() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("p");
    let first = daemon.create(&pod, &ask::container("c", DEMO, &["sleep", "600"]));
    let other = ask::container("c", DEMO, &["exit", "1"]);
    match daemon.client().create_container(ask::create(&pod.id, &other, &pod.config)) {
        Ok(answer) => assert_eq!(answer.container_id, first),
        Err(error) => {
            assert_eq!(error.code(), Code::AlreadyExists, "{error}");
            assert!(!error.message().contains("reserved"), "{error}");
        }
    }
    let mut attempt = other;
    attempt.metadata.as_mut().unwrap().attempt = 1;
    assert_ne!(daemon.create(&pod, &attempt), first, "another attempt is another container");
}

#[test]
fn a_stopped_pod_takes_no_container() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("p");
    daemon.client().stop_pod_sandbox(ask::stop_pod(&pod.id)).unwrap();
    let config = ask::container("c", DEMO, &[]);
    let answer = daemon.client().create_container(ask::create(&pod.id, &config, &pod.config));
    assert_eq!(answer.unwrap_err().code(), Code::FailedPrecondition);
}

#[test]
fn garbage_on_the_socket_hurts_nobody() {
    let Some(daemon) = Daemon::start() else { return };
    let mut noise = vec![0u8; 70_000];
    for (at, byte) in noise.iter_mut().enumerate() {
        *byte = u8::try_from(at * 7919 % 251).unwrap();
    }
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x00", b"\0", &noise]
    {
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        // The daemon may hang up in the middle.
        stream.write_all(garbage).ok();
        stream.shutdown(std::net::Shutdown::Write).ok();
        stream.read_to_end(&mut Vec::new()).ok();
    }
    daemon.client().version(v1::VersionRequest::default()).unwrap();
}

#[test]
fn garbage_on_a_shims_socket_hurts_nobody() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("p");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    let folder = fs::File::open(daemon.path("state/shims").join(&id)).unwrap();
    // The socket's path is longer than an address may be.
    let short = format!("/proc/self/fd/{}/sock", std::os::fd::AsRawFd::as_raw_fd(&folder));
    for garbage in [
        &b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x10\0\0\0\x01\x01\0zz",
    ] {
        let mut stream = UnixStream::connect(&short).unwrap();
        stream.write_all(garbage).ok();
        stream.shutdown(std::net::Shutdown::Write).ok();
        stream.read_to_end(&mut Vec::new()).ok();
    }
    assert_eq!(daemon.client().exec_sync(ask::exec(&id, &["/demo", "true"], 10)).unwrap().exit_code, 0);
    daemon.client().stop_container(ask::stop(&id, 0)).unwrap();
    assert_eq!(daemon.status(&id).exit_code, 137);
}

/// A runtime of a test's own: a shell script instead of runc.
fn scripted(script: &str) -> Option<(Daemon, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let program: PathBuf = folder.path().join("runtime");
    let runc = host::find("runc")?;
    put(&program, format!("#!/bin/sh\nreal={}\n{script}\n", runc.display()).as_bytes());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let set = vec![format!("runtimes.runc.path={}", program.display())];
    Some((Daemon::start_with(Options { set, ..Options::default() })?, folder))
}

#[test]
fn a_runtime_that_fails_is_quoted() {
    let script = "case \"$*\" in *--version*) exec $real --version;; *create*) echo 'the moon is in the wrong house' >&2; exit 1;; *) exec $real \"$@\";; esac";
    let Some((daemon, _folder)) = scripted(script) else { return };
    let pod = daemon.run_pod("p");
    let id = daemon.create(&pod, &ask::container("c", DEMO, &[]));
    let error = daemon.client().start_container(ask::start(&id)).unwrap_err();
    assert!(error.message().contains("the moon is in the wrong house"), "{error}");
    let status = daemon.status(&id);
    assert_eq!(
        (status.state(), status.exit_code, status.reason.as_str()),
        (ContainerState::ContainerExited, 128, "StartError")
    );
    assert!(status.message.contains("the moon is in the wrong house"), "{status:?}");
    assert!(
        !pod.log("c").exists() || fs::read(pod.log("c")).unwrap().is_empty(),
        "not in the container's own log"
    );
}

#[test]
fn a_container_whose_runtime_hangs_can_be_removed() {
    let script = "case \"$*\" in *--version*) exec $real --version;; *create*) echo 'waiting for godot' >&2; exec sleep 3600;; *) exec $real \"$@\";; esac";
    let Some((daemon, _folder)) = scripted(script) else { return };
    let pod = daemon.run_pod("p");
    let id = daemon.create(&pod, &ask::container("c", DEMO, &[]));
    let starting = std::thread::spawn({
        let (client, id) = (daemon.client().clone(), id.clone());
        move || client.start_container(ask::start(&id))
    });
    tests::eventually::eventually(tests::limits::SOON, "the runtime to hang", || {
        daemon.nursery().descendants().iter().any(|process| process.name == "sleep").then_some(())
    });
    // A hung one does not hold the others.
    daemon.client().list_containers(v1::ListContainersRequest::default()).unwrap();
    daemon.client().remove_container(ask::remove(&id)).unwrap();
    assert!(starting.join().unwrap().is_err());
}

#[test]
fn a_damaged_image_file_is_refused_and_nothing_stays() {
    let Some(daemon) = Daemon::start() else { return };
    let file = daemon.path("good.tar");
    image_file::write_demo(&file).unwrap();
    let good = fs::read(&file).unwrap();
    // A layer that is there is not read again, so its damage would not be seen.
    assert!(daemon.cli(&["image", "remove", DEMO]).status.success());
    let import = |name: &str, content: &[u8]| {
        let path = daemon.path(name);
        put(&path, content);
        let done = daemon.cli(&["image", "import", &path.to_string_lossy()]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "{name}: {said}");
        assert!(said.len() > 20 && !said.contains("panicked"), "{name}: {said}");
        fs::remove_file(&path).unwrap();
    };
    import("empty.tar", b"");
    import("noise.tar", &[7u8; 5000]);
    import("cut.tar", &good[..good.len() / 2]);
    let mut flipped = good.clone();
    flipped[4096] ^= 1;
    import("flipped.tar", &flipped);
    let done = daemon.cli(&["image", "import", "/no/such/file"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("/no/such/file"));
}
