//! The power is cut while images are imported, pulled and removed, and pods made and removed: the disk under the daemon's
//! root forgets what was not written, at any moment. Afterwards the daemon always starts, lists no image whose files are
//! not all there and right, and works on.
//!
//! Never: a cut at a moment that was chosen; what the moments were is printed when one of them hurts.

mod images;

use std::{
    collections::{BTreeMap, BTreeSet},
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
    /// Images listed no more, since they were damaged.
    forgotten: usize,
    /// Things that a caller had been told of, each found as it was told.
    told: usize,
}

/// What callers had been told before the cut: that is on the disk. A call that the cut met may or may not have been done.
#[derive(Debug, Default)]
struct Told {
    /// By id: whether it is there.
    images: BTreeMap<String, bool>,
    sandboxes: BTreeSet<String>,
    containers: BTreeSet<String>,
}

/// Works on images, which are all there, until the daemon is gone; which are there, and which are not.
fn images(daemon: &Daemon, stock: &Stock, registry: &str, random: &mut Random) -> BTreeMap<String, bool> {
    let client = daemon.client();
    let mut told: BTreeMap<String, bool> =
        stock.all().iter().map(|image| (image.id().to_owned(), true)).collect();
    loop {
        let image = stock.any(random.number());
        let what = random.below(3);
        let done = match what {
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
            told.remove(image.id());
            return told;
        }
        told.insert(image.id().to_owned(), what < 2);
    }
}

/// Makes and removes pods until the daemon is gone.
fn pods(client: &CriClient, logs: &Path, told: &mut Told, random: &mut Random) -> Result<(), tonic::Status> {
    loop {
        let config = ask::pod(&format!("p{}", random.number()), logs);
        let pod = client.run_pod_sandbox(ask::run(&config))?.pod_sandbox_id;
        told.sandboxes.insert(pod.clone());
        let container = ask::container("c", DEMO, &["sleep", "600"]);
        let id = client.create_container(ask::create(&pod, &container, &config))?.container_id;
        told.containers.insert(id.clone());
        if random.percent(50) {
            client.start_container(ask::start(&id))?;
        }
        if random.percent(50) {
            client.stop_pod_sandbox(ask::stop_pod(&pod))?;
            told.sandboxes.remove(&pod);
            told.containers.remove(&id);
            client.remove_pod_sandbox(ask::remove_pod(&pod))?;
        }
    }
}

/// Works, and cuts the power in the middle of it.
fn work_until_the_cut(daemon: &mut Daemon, disk: &Disk, stock: &Stock, random: &mut Random) -> Told {
    let registry = Scripted::start(daemon.network(), stock.registry());
    let over = AtomicBool::new(false);
    let how = [Shutdown::Nothing, Shutdown::Nothing, Shutdown::LogFlush, Shutdown::Sync];
    let how = *random.pick(&how).unwrap();
    let [mut one, mut two, mut three] = [random.number(), random.number(), random.number()].map(Random::new);
    let told = thread::scope(|scope| {
        let (daemon, logs, client) = (&*daemon, daemon.path("logs"), daemon.client().clone());
        let (host, over) = (registry.host(), &over);
        let images = scope.spawn(move || images(daemon, stock, host, &mut one));
        let pods = scope.spawn(move || {
            let mut told = Told::default();
            // What it says at the end is that the daemon is gone.
            drop(pods(&client, &logs, &mut told, &mut two));
            told
        });
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) && disk.sync() {
                moment(&mut three, SYNC);
            }
        });
        moment(random, LATEST);
        disk.cut(how);
        over.store(true, Ordering::Relaxed);
        daemon.signal(nix::sys::signal::Signal::SIGKILL);
        Told { images: images.join().unwrap(), ..pods.join().unwrap() }
    });
    daemon.forget();
    told
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

/// The images that are listed are whole, and they are those that somebody was told of.
fn images_are_right(daemon: &Daemon, stock: &Stock, told: &Told, seen: &mut Seen) {
    let list = daemon.client().list_images(v1::ListImagesRequest::default()).unwrap().images;
    seen.images += list.len();
    seen.layers += list.iter().map(|image| stock.check(daemon, &image.id)).sum::<usize>();
    for (id, is_there) in &told.images {
        assert_eq!(list.iter().any(|image| image.id == *id), *is_there, "{id} after the cut: {told:?}");
    }
}

/// Nothing of before the cut is lost, and nothing hurts: it can be listed and removed.
fn removes_all(daemon: &Daemon, told: &Told, seen: &mut Seen) {
    let containers = daemon.client().list_containers(v1::ListContainersRequest::default()).unwrap();
    for container in &containers.containers {
        assert_ne!(container.state(), v1::ContainerState::ContainerRunning, "nothing outlives a cut");
        daemon.status(&container.id);
    }
    let pods = daemon.client().list_pod_sandbox(v1::ListPodSandboxRequest::default()).unwrap();
    assert!(pods.items.iter().all(|pod| pod.state() == v1::PodSandboxState::SandboxNotready));
    for id in &told.sandboxes {
        assert!(pods.items.iter().any(|pod| pod.id == *id), "sandbox {id} is lost");
    }
    for id in &told.containers {
        assert!(containers.containers.iter().any(|container| container.id == *id), "container {id} is lost");
    }
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
    stock.all().iter().for_each(|image| daemon.import(image.path()));
    let mut seen = Seen::default();
    for number in 1..=if host::full() { CUTS_FULL } else { CUTS } {
        stock.enter_demo(&daemon);
        let told = work_until_the_cut(&mut daemon, &disk, &stock, &mut random);
        seen.told += told.images.len() + told.sandboxes.len() + told.containers.len();
        boot(&mut daemon, &mut disk, number, &mut random);
        seen.cuts += 1;
        seen.forgotten += daemon.log_of_this_start().matches("not listed").count();
        images_are_right(&daemon, &stock, &told, &mut seen);
        removes_all(&daemon, &told, &mut seen);
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
