//! The power is cut while images are imported, pulled and removed, and pods made and removed: the disk under the daemon's
//! root forgets what was not written, at any moment. Afterwards the daemon always starts, lists no image whose files are
//! not all there and right, and works on.
//!
//! Never: a cut at a moment that was chosen; what the moments were is printed when one of them hurts.

mod images;

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use cri_api::v1;
use tests::{
    ask,
    client::CriClient,
    daemon::{Daemon, Options},
    disk::Disk,
    eventually::within,
    host,
    image_file::DEMO,
    random::Random,
    scripted::Scripted,
    sys::Shutdown,
};

use images::Stock;

/// Size of the disk: room for all images twice, and for writable parts.
const DISK: u64 = 512 << 20;
/// Cuts here, and in `make test-full`.
const CUTS: usize = 10;
const CUTS_FULL: usize = 100;
/// Latest moment of a cut after the work began: an import takes some hundred milliseconds.
const LATEST: Duration = Duration::from_millis(1200);
/// Longest time between two writes of all that is waiting. Between them only what the daemon itself syncs
/// reaches the disk.
const SYNC: Duration = Duration::from_millis(300);

/// Lets a moment pass, which is all that a cut waits for.
fn moment(random: &mut Random, most: Duration) {
    within(random.between(Duration::ZERO, most), || None::<()>);
}

/// What was seen over all cuts.
#[derive(Debug, Default)]
struct Seen {
    cuts: usize,
    images: usize,
    layers: usize,
    sandboxes: usize,
    containers: usize,
    forgotten: usize,
}

/// Works on images until the daemon is gone.
fn images(client: &CriClient, daemon: &Daemon, stock: &Stock, registry: &str, random: &mut Random) {
    loop {
        let image = stock.any(random.number());
        let done = match random.below(3) {
            0 => daemon.cli(&["image", "import", &image.path().to_string_lossy()]).status.success(),
            1 => {
                let name = format!("{registry}/{}", image.name());
                let request =
                    v1::PullImageRequest { image: ask::image(&name), auth: None, sandbox_config: None };
                client.pull_image(request).is_ok()
            }
            _ => client.remove_image(v1::RemoveImageRequest { image: ask::image(image.id()) }).is_ok(),
        };
        if !done {
            return;
        }
    }
}

/// Makes and removes pods until the daemon is gone.
fn pods(client: &CriClient, logs: &Path, random: &mut Random) -> Result<(), tonic::Status> {
    loop {
        let config = ask::pod(&format!("p{}", random.number()), logs);
        let pod = client.run_pod_sandbox(ask::run(&config))?.pod_sandbox_id;
        let container = ask::container("c", DEMO, &["sleep", "600"]);
        let id = client.create_container(ask::create(&pod, &container, &config))?.container_id;
        if random.percent(50) {
            client.start_container(ask::start(&id))?;
        }
        if random.percent(50) {
            client.stop_pod_sandbox(ask::stop_pod(&pod))?;
            client.remove_pod_sandbox(ask::remove_pod(&pod))?;
        }
    }
}

/// Works, and cuts the power in the middle of it.
fn work_until_the_cut(daemon: &mut Daemon, disk: &Disk, stock: &Stock, random: &mut Random) {
    let registry = Scripted::start(daemon.network(), stock.registry());
    let over = AtomicBool::new(false);
    let how = [Shutdown::Nothing, Shutdown::Nothing, Shutdown::LogFlush, Shutdown::Sync];
    let how = *random.pick(&how).unwrap();
    let [mut one, mut two, mut three] = [random.number(), random.number(), random.number()].map(Random::new);
    thread::scope(|scope| {
        let (daemon_, logs, client) = (&*daemon, daemon.path("logs"), daemon.client().clone());
        let (host, over) = (registry.host(), &over);
        let other = client.clone();
        scope.spawn(move || images(&other, daemon_, stock, host, &mut one));
        // What it says at the end is that the daemon is gone.
        scope.spawn(move || drop(pods(&client, &logs, &mut two)));
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) && disk.sync() {
                moment(&mut three, SYNC);
            }
        });
        moment(random, LATEST);
        disk.cut(how);
        over.store(true, Ordering::Relaxed);
        daemon_.signal(nix::sys::signal::Signal::SIGKILL);
    });
    daemon.forget();
}

fn boot_id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// A boot after the cut.
fn boot(daemon: &mut Daemon, disk: &mut Disk, number: usize, random: &mut Random) {
    daemon.power_off(&boot_id(number));
    disk.unmount();
    // The second writes sizes and names of files before what is in them.
    let data = random.pick(&["data=ordered", "data=writeback"]).unwrap();
    disk.mount(&daemon.path("root"), data);
    daemon.launch();
}

/// Nothing of before the cut hurts: it can be listed and removed.
fn removes_all(daemon: &Daemon, seen: &mut Seen) {
    let containers = daemon.client().list_containers(v1::ListContainersRequest::default()).unwrap();
    for container in &containers.containers {
        assert_ne!(container.state(), v1::ContainerState::ContainerRunning, "nothing outlives a cut");
        daemon.status(&container.id);
    }
    let pods = daemon.client().list_pod_sandbox(v1::ListPodSandboxRequest::default()).unwrap();
    assert!(pods.items.iter().all(|pod| pod.state() == v1::PodSandboxState::SandboxNotready));
    seen.containers += containers.containers.len();
    seen.sandboxes += pods.items.len();
    daemon.remove_pods();
    for folder in ["root/sandboxes", "root/containers", "root/snapshots/active"] {
        let left: Vec<_> = fs::read_dir(daemon.path(folder)).into_iter().flatten().collect();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
}

/// All work that was cut can be done now.
fn works_on(daemon: &Daemon, stock: &Stock) {
    for image in stock.all() {
        daemon.import(image.path());
        stock.check(daemon, image.id());
    }
    let pod = daemon.run_pod("after");
    let id = daemon.run(&pod, "c", &["exit", "7"]);
    assert_eq!(daemon.exited(&id).exit_code, 7);
    daemon.remove_pods();
}

#[test]
fn a_power_cut_at_any_moment_costs_nothing_that_was_there() {
    if !host::can_run_containers() {
        return;
    }
    let Some(mut disk) = Disk::make(DISK) else { return };
    let mut daemon = Daemon::empty(Options::default());
    let seed = Random::fresh_seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    boot(&mut daemon, &mut disk, 0, &mut random);
    let stock = Stock::make(&daemon);
    let mut seen = Seen::default();
    for number in 1..=if host::full() { CUTS_FULL } else { CUTS } {
        stock.enter_demo(&daemon);
        work_until_the_cut(&mut daemon, &disk, &stock, &mut random);
        boot(&mut daemon, &mut disk, number, &mut random);
        seen.cuts += 1;
        seen.forgotten += daemon.log_of_this_start().matches("not listed").count();
        for image in daemon.client().list_images(v1::ListImagesRequest::default()).unwrap().images {
            seen.images += 1;
            seen.layers += stock.check(&daemon, &image.id);
        }
        removes_all(&daemon, &mut seen);
        works_on(&daemon, &stock);
    }
    host::figure(&format!("power cuts: {seen:?}, none wrong"));
    stock.remove(&daemon);
    for folder in ["root/images", "root/snapshots/layers", "root/snapshots/chains"] {
        let left: Vec<_> = fs::read_dir(daemon.path(folder)).unwrap().collect();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
    // The last start, which ends the test, is on the host's own disk.
    daemon.power_off(&boot_id(seen.cuts + 1));
    disk.unmount();
    daemon.launch();
    daemon.run_pod("last");
}
