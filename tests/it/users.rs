//! Who a container's first process is: the request's words, the image's, and what hostile images say.

use cri_api::v1::{self, SupplementalGroupsPolicy};
use tests::{
    daemon::{Daemon, Pod},
    image_file::{BUSYBOX, Extra},
    workload::{self, Ran, import, refused, run, script, security},
};
use tonic::Code;

const PASSWD: &[u8] =
    b"root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000:Web:/srv:/bin/sh\nnobody:x:65534:65534::/:\n";
const GROUP: &[u8] = b"root:x:0:\nweb:x:1000:\nstaff:x:50000:web\n";

/// What a process can say about itself: user, group, groups, home.
const WHO: &str = "id -u; id -g; id -G; echo $HOME";

fn with_accounts(daemon: &mut Daemon, name: &str, user: &str) {
    let files = [Extra::File("etc/passwd", PASSWD), Extra::File("etc/group", GROUP)];
    assert!(import(daemon, name, &files, &serde_json::json!({ "User": user })));
}

fn value(value: i64) -> Option<v1::Int64Value> {
    Some(v1::Int64Value { value })
}

fn ask(
    daemon: &Daemon,
    pod: &Pod,
    name: &str,
    image: &str,
    change: impl FnOnce(&mut v1::LinuxContainerSecurityContext),
) -> Ran {
    let mut config = script(name, image, WHO);
    change(security(&mut config));
    run(daemon, pod, &config)
}

/// The status says what the process says.
fn told(ran: &Ran) -> (i64, i64, Vec<i64>) {
    let user = ran.status.user.clone().and_then(|user| user.linux).expect("a status has a user");
    let shown = (user.uid, user.gid, user.supplemental_groups.clone());
    let numbers = |line: &String| line.split(' ').map(|n| n.parse().expect("a number")).collect::<Vec<i64>>();
    let mut groups = numbers(&ran.lines[2]);
    groups.sort_unstable();
    assert_eq!(shown, (numbers(&ran.lines[0])[0], numbers(&ran.lines[1])[0], groups), "{ran:?}");
    shown
}

#[test]
fn users_are_found_in_the_image() {
    let Some(mut daemon) = workload::start() else { return };
    for (name, user) in [("web", "web"), ("number", "1000"), ("group", "web:staff"), ("both", "1002:1003")] {
        with_accounts(&mut daemon, &format!("taffrail.test/{name}:1"), user);
    }
    let pod = daemon.run_pod("p");
    let image = |name: &str| format!("taffrail.test/{name}:1");
    let web = ask(&daemon, &pod, "a", &image("web"), |_| {});
    assert_eq!((told(&web), web.lines[3].as_str()), ((1000, 1000, vec![1000, 50000]), "/srv"));
    assert_eq!(told(&ask(&daemon, &pod, "b", &image("number"), |_| {})).2, [1000, 50000]);
    assert_eq!(told(&ask(&daemon, &pod, "c", &image("group"), |_| {})), (1000, 50000, vec![50000]));
    let both = ask(&daemon, &pod, "d", &image("both"), |_| {});
    assert_eq!((told(&both), both.lines[3].as_str()), ((1002, 1003, vec![1003]), "/"));
    // A user of the request's own does not take the group of the image's.
    let own = ask(&daemon, &pod, "e", &image("both"), |s| s.run_as_user = value(1002));
    assert_eq!(told(&own), (1002, 0, vec![0]));
    let named = ask(&daemon, &pod, "f", &image("both"), |s| s.run_as_username = "nobody".into());
    assert_eq!(told(&named), (65534, 65534, vec![65534]));
    let mut config = script("env", &image("web"), "echo $HOSTNAME $TERM $PATH $OWN $HOME");
    config.envs = [("OWN", "1"), ("HOME", "/mine")]
        .map(|(key, value)| v1::KeyValue { key: key.to_owned(), value: value.into() })
        .into();
    assert_eq!(run(&daemon, &pod, &config).lines, ["p /bin 1 /mine"], "a request's own words win");
    let exec = tests::ask::exec(&daemon.run_sleeper(&pod, "g", &image("web")), &["/bin/id", "-u"], 10);
    assert_eq!(daemon.client().exec_sync(exec).unwrap().stdout, b"1000\n");
}

#[test]
fn groups_by_both_policies_survive_a_restart() {
    let Some(mut daemon) = workload::start() else { return };
    with_accounts(&mut daemon, "taffrail.test/web:1", "");
    let pod = daemon.run_pod("p");
    let policy = |name: &str, policy: SupplementalGroupsPolicy| {
        ask(&daemon, &pod, name, "taffrail.test/web:1", |s| {
            s.run_as_user = value(1000);
            s.supplemental_groups = vec![1234];
            s.supplemental_groups_policy = policy as i32;
        })
    };
    let merge = policy("merge", SupplementalGroupsPolicy::Merge);
    assert_eq!(told(&merge), (1000, 1000, vec![1000, 1234, 50000]));
    assert_eq!(told(&policy("strict", SupplementalGroupsPolicy::Strict)), (1000, 1000, vec![1000, 1234]));
    let features = daemon.client().status(v1::StatusRequest::default()).unwrap().features.unwrap();
    assert!(features.supplemental_groups_policy);
    daemon.restart();
    assert_eq!(daemon.status(&merge.id).user, merge.status.user);
}

#[test]
fn what_is_no_user_is_refused() {
    let Some(daemon) = workload::start() else { return };
    let pod = daemon.run_pod("p");
    let bad = |change: fn(&mut v1::LinuxContainerSecurityContext)| {
        let mut config = script("bad", BUSYBOX, WHO);
        change(security(&mut config));
        let error = refused(&daemon, &pod, &config);
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        error.message().to_owned()
    };
    assert!(bad(|s| s.run_as_group = value(5)).contains("run_as_group"));
    assert!(bad(|s| s.run_as_username = "ghost".into()).contains("ghost"));
    assert!(bad(|s| s.run_as_username = "0x0".into()).contains("0x0"));
    assert!(bad(|s| s.run_as_user = value(-1)).contains("run_as_user"));
    assert!(bad(|s| s.run_as_user = value(4_294_967_295)).contains("run_as_user"));
    assert!(bad(|s| s.supplemental_groups = vec![1 << 40]).contains("supplemental_groups"));
}

#[test]
fn hostile_accounts_lead_nowhere() {
    let Some(mut daemon) = workload::start() else { return };
    let long = vec![b'x'; (10 << 20) + 1];
    let secret = daemon.path("secret");
    let outside = format!("../../../../../..{}", secret.display());
    put(&secret, b"web:x:4242:4242::/:\n");
    for (name, extra) in [
        ("pipe", Extra::Pipe("etc/passwd")),
        ("long", Extra::File("etc/passwd", &long)),
        ("folder", Extra::Folder("etc/passwd", 0o755)),
        ("loop", Extra::Link("etc/passwd", "passwd")),
        ("outside", Extra::Link("etc/passwd", &outside)),
        ("absolute", Extra::Link("etc/passwd", &secret.to_string_lossy())),
        (
            "damaged",
            Extra::File(
                "etc/passwd",
                b"web:x\n\xff\xff:x:1:1\nweb:x:-5:4294967295::/:\nweb:x:99999999999:0::/:\n",
            ),
        ),
    ] {
        assert!(import(
            &mut daemon,
            &format!("taffrail.test/{name}:1"),
            &[extra],
            &serde_json::json!({ "User": "web" })
        ));
        let pod = daemon.run_pod(name);
        let error = refused(&daemon, &pod, &script("bad", &format!("taffrail.test/{name}:1"), WHO));
        assert_eq!(error.code(), Code::InvalidArgument, "{name}: {error}");
        assert!(error.message().contains("/etc/passwd"), "{name}: {error}");
    }
    for user in ["2147483648", "4294967296", "-1", "00", "99999999999999999999", "1000:4294967296", " 1000"] {
        let name = "taffrail.test/number:1";
        assert!(import(&mut daemon, name, &[], &serde_json::json!({ "User": user })));
        let pod = daemon.run_pod("number");
        let error = refused(&daemon, &pod, &script("bad", name, WHO));
        assert_eq!(error.code(), Code::InvalidArgument, "{user}: {error}");
        daemon.client().remove_pod_sandbox(tests::ask::remove_pod(&pod.id)).unwrap();
        daemon.settle();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
fn put(path: &std::path::Path, content: &[u8]) {
    std::fs::write(path, content).expect("the test's folder can be written");
}
