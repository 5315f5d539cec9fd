//! Many pods made and removed: nothing may stay. The comparison itself is in the harness and runs after every test;
//! here it has something to find.

use std::thread;

use tests::{ask, daemon::Daemon, host, image_file::DEMO};

/// Pods of this test, and how many callers share them: as many at once as a node's start brings.
const PODS: usize = 100;
const PODS_FULL: usize = 1000;
const CALLERS: usize = 4;

#[test]
fn a_hundred_pods_leave_nothing() {
    let Some(daemon) = Daemon::start() else { return };
    let pods = if host::full() { PODS_FULL } else { PODS };
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let daemon = &daemon;
            scope.spawn(move || {
                for nr in (caller..pods).step_by(CALLERS) {
                    cycle(daemon, nr);
                }
            });
        }
    });
}

/// One pod's life; which of the many ends it takes depends on its number.
fn cycle(daemon: &Daemon, nr: usize) {
    let client = daemon.client();
    let pod = daemon.run_pod(&format!("pod{nr}"));
    let id = daemon.run(&pod, "c", &["sleep", "600"]);
    match nr % 4 {
        0 => {
            let other = daemon.create(&pod, &ask::container("never-started", DEMO, &["true"]));
            client.remove_container(ask::remove(&other)).unwrap();
        }
        1 => {
            let answer = client.exec_sync(ask::exec(&id, &["/demo", "true"], 10)).unwrap();
            assert_eq!(answer.exit_code, 0);
        }
        2 => {
            client.stop_container(ask::stop(&id, 10)).unwrap();
            client.remove_container(ask::remove(&id)).unwrap();
        }
        _ => {}
    }
    client.stop_pod_sandbox(ask::stop_pod(&pod.id)).unwrap();
    client.remove_pod_sandbox(ask::remove_pod(&pod.id)).unwrap();
}
