//! A pod and its containers from their first call to their last, as the kubelet walks them.
//!
//! Never: crictl; that is `crictl.rs`.

use std::{fs, thread};

use cri_api::v1::{self, ContainerState, PodSandboxState};
use tests::{ask, cri_log, daemon::Daemon, eventually::eventually, image_file::DEMO, limits::SOON};
use tonic::Code;

#[test]
fn version_and_status_are_answered() {
    let Some(daemon) = Daemon::start() else { return };
    let version = daemon.client().version(v1::VersionRequest::default()).unwrap();
    assert_eq!(version.runtime_name, "taffrail");
    assert_eq!(version.runtime_api_version, "v1");
    assert_eq!(version.runtime_version.split('.').count(), 3, "a semantic version");
    let status = daemon.client().status(v1::StatusRequest { verbose: true }).unwrap();
    let conditions = status.status.unwrap().conditions;
    for wanted in ["RuntimeReady", "NetworkReady"] {
        let condition = conditions.iter().find(|condition| condition.r#type == wanted);
        let condition = condition.unwrap_or_else(|| panic!("{wanted} in {conditions:?}"));
        assert!(
            condition.status || !condition.reason.is_empty() && !condition.message.is_empty(),
            "{condition:?}"
        );
    }
    assert!(status.runtime_handlers.iter().any(|handler| handler.name.is_empty()), "the default handler");
    assert!(status.info.contains_key("config"), "kubeadm reads it");
}

#[test]
fn a_container_is_created_started_and_ends() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("one");
    let id = daemon.create(&pod, &ask::container("c", DEMO, &["exit", "9"]));
    let created = daemon.status(&id);
    assert_eq!(created.state(), ContainerState::ContainerCreated);
    assert!(created.created_at > 0 && created.started_at == 0 && created.finished_at == 0, "{created:?}");
    daemon.client().start_container(ask::start(&id)).unwrap();
    let ended = daemon.exited(&id);
    assert_eq!((ended.exit_code, ended.reason.as_str()), (9, "Error"));
    assert!(ended.created_at <= ended.started_at && ended.started_at <= ended.finished_at, "{ended:?}");
    assert_eq!(ended.image.as_ref().map(|image| image.image.as_str()), Some(DEMO));
    assert!(!ended.image_id.is_empty() && !ended.image_ref.is_empty());
    assert_eq!(ended.log_path, pod.log("c").to_string_lossy());
    let again = daemon.client().start_container(ask::start(&id)).unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition, "{again}");
}

#[test]
fn the_log_is_in_the_cri_format() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("logs");
    let out = daemon.run(&pod, "out", &["count", "3", "0"]);
    let err = daemon.run(&pod, "err", &["err", "oh"]);
    assert_eq!((daemon.exited(&out).exit_code, daemon.exited(&err).exit_code), (0, 0));
    assert_eq!(daemon.status(&out).reason, "Completed");
    let records = cri_log::read(&pod.log("out"));
    assert_eq!(cri_log::lines(&records, "stdout"), ["line 1", "line 2", "line 3"]);
    assert!(records.iter().all(|record| record.full));
    assert_eq!(cri_log::lines(&cri_log::read(&pod.log("err")), "stderr"), ["oh"]);
}

#[test]
fn the_environment_is_the_images_and_the_requests() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("env");
    let mut config = ask::container("c", DEMO, &["env"]);
    config.envs = vec![v1::KeyValue { key: "COLOUR".into(), value: b"blue and green".to_vec() }];
    let id = daemon.create(&pod, &config);
    daemon.client().start_container(ask::start(&id)).unwrap();
    daemon.exited(&id);
    let lines = cri_log::lines(&cri_log::read(&pod.log("c")), "stdout");
    for wanted in ["PATH=/", "COLOUR=blue and green", "HOSTNAME=env"] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted} in {lines:?}");
    }
}

#[test]
fn a_user_by_number_and_the_pods_files() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("files");
    let mut config = ask::container("user", DEMO, &["id"]);
    config.linux.as_mut().unwrap().security_context = Some(v1::LinuxContainerSecurityContext {
        run_as_user: Some(v1::Int64Value { value: 1234 }),
        run_as_group: Some(v1::Int64Value { value: 4321 }),
        ..Default::default()
    });
    let user = daemon.create(&pod, &config);
    daemon.client().start_container(ask::start(&user)).unwrap();
    let files = daemon.run(&pod, "files", &["cat", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"]);
    assert_eq!((daemon.exited(&user).exit_code, daemon.exited(&files).exit_code), (0, 0));
    let said = cri_log::lines(&cri_log::read(&pod.log("user")), "stdout");
    assert!(said[0].starts_with("uid=1234 gid=4321"), "{said:?}");
    let said = cri_log::lines(&cri_log::read(&pod.log("files")), "stdout");
    assert_eq!(said[0], "files");
    assert!(said.iter().any(|line| line.contains("localhost")), "{said:?}");
}

#[test]
fn a_pods_network_is_its_own_with_loopback_up_and_a_host_pod_has_the_hosts() {
    let Some(daemon) = Daemon::start() else { return };
    let own = daemon.run_pod("own");
    daemon.run(&own, "dev", &["cat", "/proc/net/dev", "/proc/net/if_inet6", "/proc/net/fib_trie"]);
    let mut config = ask::pod("hostnet", &daemon.path("logs"));
    config.linux.as_mut().unwrap().security_context = Some(v1::LinuxSandboxSecurityContext {
        namespace_options: Some(v1::NamespaceOption {
            network: v1::NamespaceMode::Node as i32,
            pid: v1::NamespaceMode::Container as i32,
            ..Default::default()
        }),
        ..Default::default()
    });
    let id = daemon.client().run_pod_sandbox(ask::run(&config)).unwrap().pod_sandbox_id;
    let host = tests::daemon::Pod { id, config };
    let on_host = daemon.run(&host, "dev", &["cat", "/proc/net/dev"]);
    daemon.exited(&on_host);
    let devices = |pod: &tests::daemon::Pod| {
        let lines = cri_log::lines(&cri_log::read(&pod.log("dev")), "stdout");
        let names = lines.iter().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
        names.collect::<Vec<String>>()
    };
    let here = daemon.network().run(&["cat", "/proc/net/dev"]);
    assert_eq!(devices(&host).len(), here.lines().filter(|line| line.contains(':')).count());
    eventually(SOON, "the list of the pod's interfaces", || (!devices(&own).is_empty()).then_some(()));
    assert_eq!(devices(&own)[0], "lo");
    assert!(devices(&own).iter().any(|name| name == "eth0"), "the link of its own");
    let text = cri_log::lines(&cri_log::read(&own.log("dev")), "stdout").join("\n");
    assert!(text.contains("127.0.0.1"), "loopback has its address, so it is up:\n{text}");
    let status = daemon.client().pod_sandbox_status(ask::pod_status(&host.id)).unwrap().status.unwrap();
    let options = status.linux.unwrap().namespaces.unwrap().options.unwrap();
    assert_eq!(options.network, v1::NamespaceMode::Node as i32, "else the kubelet makes it anew for ever");
}

#[test]
fn stop_uses_the_grace_and_then_kills() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("stop");
    let polite = daemon.run(&pod, "polite", &["trap", "7", "600"]);
    let stubborn = daemon.run(&pod, "stubborn", &["ignore-term", "600"]);
    eventually(SOON, "both to be ready", || {
        let ready = |name: &str| fs::read_to_string(pod.log(name)).is_ok_and(|log| log.contains("ready"));
        (ready("polite") && ready("stubborn")).then_some(())
    });
    daemon.client().stop_container(ask::stop(&polite, 30)).unwrap();
    assert_eq!(daemon.status(&polite).exit_code, 7, "it was asked and ended by itself");
    daemon.client().stop_container(ask::stop(&stubborn, 1)).unwrap();
    let status = daemon.status(&stubborn);
    assert_eq!((status.state(), status.exit_code), (ContainerState::ContainerExited, 137));
}

#[test]
fn a_shorter_grace_overrides_a_longer_one() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("shorter");
    let id = daemon.run(&pod, "c", &["ignore-term", "600"]);
    let patient = thread::spawn({
        let (client, id) = (daemon.client().clone(), id.clone());
        move || client.stop_container(ask::stop(&id, 3600))
    });
    daemon.client().stop_container(ask::stop(&id, 0)).unwrap();
    patient.join().unwrap().unwrap();
    assert_eq!(daemon.status(&id).exit_code, 137);
}

#[test]
fn stop_and_remove_may_be_repeated_and_may_name_what_never_was() {
    let Some(daemon) = Daemon::start() else { return };
    let client = daemon.client();
    let unknown = "7c1e6a4e-5c7e-4c59-9d6b-0123456789ab";
    client.stop_container(ask::stop(unknown, 1)).unwrap();
    client.remove_container(ask::remove(unknown)).unwrap();
    client.stop_pod_sandbox(ask::stop_pod(unknown)).unwrap();
    client.remove_pod_sandbox(ask::remove_pod(unknown)).unwrap();
    let pod = daemon.run_pod("twice");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    for _ in 0..2 {
        client.stop_container(ask::stop(&id, 0)).unwrap();
        client.stop_pod_sandbox(ask::stop_pod(&pod.id)).unwrap();
    }
    let status = client.pod_sandbox_status(ask::pod_status(&pod.id)).unwrap().status.unwrap();
    assert_eq!(status.state(), PodSandboxState::SandboxNotready);
    assert_eq!(daemon.status(&id).state(), ContainerState::ContainerExited, "it stays listed");
    for _ in 0..2 {
        client.remove_container(ask::remove(&id)).unwrap();
        client.remove_pod_sandbox(ask::remove_pod(&pod.id)).unwrap();
    }
    assert_eq!(client.container_status(ask::status(&id)).unwrap_err().code(), Code::NotFound);
    assert_eq!(client.pod_sandbox_status(ask::pod_status(&pod.id)).unwrap_err().code(), Code::NotFound);
}

#[test]
fn remove_takes_what_still_runs() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("running");
    let id = daemon.run(&pod, "c", &["ignore-term", "600"]);
    daemon.client().remove_container(ask::remove(&id)).unwrap();
    daemon.run(&pod, "d", &["ignore-term", "600"]);
    daemon.client().remove_pod_sandbox(ask::remove_pod(&pod.id)).unwrap();
    let left = daemon.client().list_containers(v1::ListContainersRequest::default()).unwrap().containers;
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_retry_joins_or_gets_the_result() {
    let Some(daemon) = Daemon::start() else { return };
    let config = ask::pod("same", &daemon.path("logs"));
    let ids: Vec<String> = thread::scope(|scope| {
        let run = || daemon.client().run_pod_sandbox(ask::run(&config)).unwrap().pod_sandbox_id;
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let container = ask::container("c", DEMO, &["sleep", "600"]);
    let made: Vec<String> = thread::scope(|scope| {
        let create = || daemon.client().create_container(ask::create(&ids[0], &container, &config)).unwrap();
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(create)).collect();
        calls.into_iter().map(|call| call.join().unwrap().container_id).collect()
    });
    assert!(made.iter().all(|id| *id == made[0]), "{made:?}");
}

#[test]
fn a_caller_that_hangs_up_changes_nothing() {
    let Some(daemon) = Daemon::start() else { return };
    let config = ask::pod("hangup", &daemon.path("logs"));
    for _ in 0..3 {
        let mut client = daemon.client().runtime();
        let request = ask::run(&config);
        tests::client::executor().block_on(async {
            tokio::select! {
                biased;
                _ = client.run_pod_sandbox(request) => {}
                () = tokio::task::yield_now() => {}
            }
        });
    }
    let id = daemon.client().run_pod_sandbox(ask::run(&config)).unwrap().pod_sandbox_id;
    let all = daemon.client().list_pod_sandbox(v1::ListPodSandboxRequest::default()).unwrap().items;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].id, id);
}

#[test]
fn a_unique_prefix_of_an_id_will_do() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("prefix");
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    assert_eq!(daemon.status(&id[..12]).id, id);
    let status = daemon.client().pod_sandbox_status(ask::pod_status(&pod.id[..12])).unwrap().status.unwrap();
    assert_eq!(status.id, pod.id);
    let empty = daemon.client().container_status(ask::status("")).unwrap_err();
    assert_ne!(empty.code(), Code::Ok);
    daemon.client().stop_container(ask::stop(&id[..12], 0)).unwrap();
    assert_eq!(daemon.status(&id).state(), ContainerState::ContainerExited);
}

#[test]
fn lists_are_filtered_by_all_fields_at_once() {
    let Some(daemon) = Daemon::start() else { return };
    let (one, two) = (daemon.run_pod("one"), daemon.run_pod("two"));
    let in_one = daemon.run(&one, "c", &["sleep", "600"]);
    let ended = daemon.run(&two, "c", &["true"]);
    daemon.exited(&ended);
    let ids = |filter: v1::ContainerFilter| {
        let request = v1::ListContainersRequest { filter: Some(filter) };
        let list = daemon.client().list_containers(request).unwrap().containers;
        list.into_iter().map(|container| container.id).collect::<Vec<_>>()
    };
    let state = |state: ContainerState| Some(v1::ContainerStateValue { state: state as i32 });
    let running =
        v1::ContainerFilter { state: state(ContainerState::ContainerRunning), ..Default::default() };
    assert_eq!(ids(running.clone()), [in_one.as_str()]);
    assert!(ids(v1::ContainerFilter { pod_sandbox_id: two.id.clone(), ..running }).is_empty());
    assert_eq!(ids(v1::ContainerFilter { pod_sandbox_id: two.id.clone(), ..Default::default() }), [ended]);
    let pods = |selector: &str| {
        let filter = v1::PodSandboxFilter {
            label_selector: [("io.kubernetes.pod.name".to_owned(), selector.to_owned())].into(),
            ..Default::default()
        };
        let request = v1::ListPodSandboxRequest { filter: Some(filter) };
        daemon.client().list_pod_sandbox(request).unwrap().items.len()
    };
    assert_eq!((pods("one"), pods("nobody")), (1, 0));
}

#[test]
fn a_log_is_reopened_where_it_was() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("rotate");
    let id = daemon.run(&pod, "c", &["count", "0", "5"]);
    let log = pod.log("c");
    let old = log.with_extension("log.1");
    eventually(SOON, "some lines", || (cri_log::read(&log).len() > 5).then_some(()));
    fs::rename(&log, &old).unwrap();
    let request = v1::ReopenContainerLogRequest { container_id: id.clone() };
    daemon.client().reopen_container_log(request).unwrap();
    assert!(log.exists(), "the new file is there when the call is answered");
    eventually(SOON, "lines in the new file", || (cri_log::read(&log).len() > 5).then_some(()));
    daemon.client().stop_container(ask::stop(&id, 0)).unwrap();
    let lines = [cri_log::read(&old), cri_log::read(&log)].map(|records| cri_log::lines(&records, "stdout"));
    for (at, line) in lines.concat().iter().enumerate() {
        assert_eq!(*line, format!("line {}", at + 1), "each line once, in order, over both files");
    }
    let request = v1::ReopenContainerLogRequest { container_id: id };
    fs::remove_file(&log).unwrap();
    let done = daemon.client().reopen_container_log(request);
    assert_eq!(done.is_ok(), log.exists(), "an error and no file, or a file and no error: {done:?}");
}

#[test]
fn a_memory_limit_kills_and_says_so() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("oom");
    let mut config = ask::container("c", DEMO, &["mem", "256"]);
    config.linux.as_mut().unwrap().resources =
        Some(v1::LinuxContainerResources { memory_limit_in_bytes: 32 << 20, ..Default::default() });
    let id = daemon.create(&pod, &config);
    daemon.client().start_container(ask::start(&id)).unwrap();
    let status = daemon.exited(&id);
    assert_eq!((status.exit_code, status.reason.as_str()), (137, "OOMKilled"));
}

#[test]
fn an_orphan_that_holds_stdout_does_not_hold_the_exit() {
    let Some(daemon) = Daemon::start() else { return };
    let pod = daemon.run_pod("orphan");
    let id = daemon.run(&pod, "c", &["orphan", "600"]);
    assert_eq!(daemon.exited(&id).exit_code, 0);
    assert_eq!(cri_log::lines(&cri_log::read(&pod.log("c")), "stdout"), ["orphan left"]);
}

#[test]
fn calls_of_later_issues_say_unimplemented() {
    let Some(daemon) = Daemon::start() else { return };
    let client = daemon.client();
    let answers = [
        client.attach(v1::AttachRequest::default()).map(drop),
        client.port_forward(v1::PortForwardRequest::default()).map(drop),
        client.exec(v1::ExecRequest::default()).map(drop),
        client.checkpoint_container(v1::CheckpointContainerRequest::default()).map(drop),
        client.list_metric_descriptors(v1::ListMetricDescriptorsRequest::default()).map(drop),
        client.update_pod_sandbox_resources(v1::UpdatePodSandboxResourcesRequest::default()).map(drop),
    ];
    for answer in answers {
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{status}");
        assert!(status.message().len() > 20, "a sentence: {:?}", status.message());
    }
}

#[test]
fn the_socket_is_for_its_owner_and_group() {
    use std::os::unix::fs::PermissionsExt;
    let Some(daemon) = Daemon::start() else { return };
    let mode = fs::metadata(daemon.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o660);
}
