//! Where the runs take place: a daemon with failpoints, a bystander, and the counts of what was tried.
//!
//! Owns: one run at one point: what happens there, and what must be true afterwards. Never: chooses the points.

use std::{fs, time::Duration};

use nix::sys::signal::{Signal, kill};
use tests::{
    ask,
    bystander::Bystander,
    client::CriClient,
    daemon::{Daemon, Options},
    eventually::{eventually, within},
    failpoints::{self, Failpoints, Point},
    host,
    limits::SOON,
    registry::{self, Registry},
};

use super::{
    life::{Ends, Life, image_life, pull_life},
    ways::put_image,
};
use crate::cni::{Folder, scripted};

/// How long a step is held up while its caller gives up.
const DELAY: &str = "delay(250)@1";
/// How long a further hit of a step in the background is waited for: long enough for what an answered call left to do.
const BACKGROUND: Duration = Duration::from_millis(500);
/// The patience of a caller that gives up: shorter than the delay, longer than a step.
const IMPATIENT: Duration = Duration::from_millis(200);

/// How its pods get their network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// By the built-in bridge.
    Bridge,
    /// By a CNI plugin, whose result is remembered.
    Plugin,
}

impl Network {
    /// By which network a life comes by the step.
    fn of(step: &str) -> Self {
        if step == "network.record" { Self::Plugin } else { Self::Bridge }
    }
}

/// The ground of the runs.
pub struct Ground {
    pub daemon: Daemon,
    pub(super) points: Failpoints,
    bystander: Bystander,
    /// Where images are pulled from, and one's name.
    pub(super) registry: (Registry, String),
    /// Of the plugin; it goes last.
    _plugin: Folder,
    /// How many layers there are.
    layers: usize,
    runs: usize,
    unnoticed: usize,
    noticed: Vec<String>,
}

/// Whether the step is one of images.
pub fn is_of_images(step: &str) -> bool {
    step.starts_with("image.") || step.starts_with("layer.") || step.starts_with("pull.")
}

/// Whether the step is one of a daemon's start.
pub(super) fn is_of_recovery(step: &str) -> bool {
    step.starts_with("recover.") || step == "layer.sweep"
}

/// Whether the step is a part of many others, so that each of its hits is another place.
pub fn is_everywhere(step: &str) -> bool {
    step.starts_with("store.")
}

impl Ground {
    /// `None`: this host, or this build, cannot; the test is skipped.
    pub fn new(network: Network) -> Option<Self> {
        let program = failpoints::program()?;
        let (points, plugin) = (Failpoints::default(), Folder::new());
        let (environment, program) = (points.environment(), Some(program));
        let options = match network {
            Network::Bridge => Options { program, environment, ..Options::default() },
            Network::Plugin => {
                plugin.script("scripted");
                plugin.configure("10-scripted.conflist", &scripted("scripted"));
                Options { program, environment, ..plugin.options() }
            }
        };
        let mut daemon = Daemon::start_with(options)?;
        let registry = Registry::start(daemon.network(), &registry::Options::default())?;
        let image = put_image(&daemon, &registry);
        let bystander = Bystander::start(&mut daemon)?;
        let layers = entries(&daemon, "layers");
        Some(Self {
            daemon,
            points,
            bystander,
            registry: (registry, image),
            _plugin: plugin,
            layers,
            runs: 0,
            unnoticed: 0,
            noticed: Vec::new(),
        })
    }

    /// The daemon dies at this hit of the step; the next one goes on. `false`: a life does not come by so often.
    pub fn daemon_dies_at(&mut self, step: &str, hit: u64) -> bool {
        self.points.set(step, &format!("kill@{hit}"));
        let went = self.come_by(step, Ends::Told);
        if went.is_ok() && !is_of_recovery(step) && self.points.hits(step) < hit {
            self.points.clear(step);
            return false;
        }
        let died = within(SOON, || self.daemon.nursery().ended(self.daemon.pid()));
        self.points.clear(step);
        assert_eq!(died, Some(137), "no life comes by {step}, hit {hit}: {went:?}");
        self.daemon.forget();
        self.daemon.launch();
        self.converges(&format!("the daemon's death at {step}, hit {hit}"), step, Ends::Told);
        true
    }

    /// The step fails once, at this hit. `false`: a life does not come by so often.
    pub fn fails_at(&mut self, step: &str, hit: u64) -> bool {
        self.points.set(step, &format!("fail@{hit}"));
        let went = self.come_by(step, ends_at(step));
        let was_hit = within(if hit == 1 { SOON } else { BACKGROUND }, || {
            (self.points.hits(step) >= hit).then_some(())
        });
        self.points.clear(step);
        if was_hit.is_none() {
            assert!(went.is_ok(), "without a failure at {step}, hit {hit}: {went:?}");
            return false;
        }
        let went = went.err().unwrap_or_else(|| "not told".to_owned());
        let after = format!("a failure at {step}, hit {hit} ({went})");
        if is_of_images(step) {
            // What a failed removal leaves of layers is left to the next start.
            self.daemon.restart();
        }
        self.converges(&after, step, ends_at(step));
        true
    }

    /// The keeper cannot start another shim in a killed one's place, twice.
    pub fn replacement_fails(&mut self) {
        let step = "keeper.start";
        let (sandbox, id) = self.shot().expect("it runs");
        self.points.set(step, "fail");
        let shim = self.shim_of(&id).expect("it has a shim");
        kill(shim, Signal::SIGKILL).expect("it runs");
        // One of them may be of a shim made ahead.
        eventually(SOON, "failed starts", || (self.points.hits(step) > 2).then_some(()));
        self.points.clear(step);
        let client = self.daemon.client();
        eventually(SOON, "another shim", || self.shim_of(&id).ok().filter(|next| *next != shim));
        client.stop_container(ask::stop(&id, 0)).expect("it can be stopped");
        assert_eq!(self.daemon.exited(&id).exit_code, 137, "its end is known");
        client.stop_pod_sandbox(ask::stop_pod(&sandbox)).expect("it can be stopped");
        client.remove_pod_sandbox(ask::remove_pod(&sandbox)).expect("it can be removed");
        self.converges("shims that could not be replaced at once", step, Ends::Told);
    }

    /// The step takes longer than its caller waits, who then asks again.
    pub fn is_given_up_at(&mut self, step: &str, _: u64) -> bool {
        self.points.set(step, DELAY);
        if is_of_recovery(step) {
            self.come_by(step, Ends::Told).ok();
        } else if step.starts_with("pull.") {
            pull_life(&self.hasty(), &self.registry.1).expect_err("its caller does not wait");
        } else if is_of_images(step) {
            image_life(&self.daemon).unwrap_or_else(|e| panic!("a delay at {step}: {e}"));
        } else {
            Life { daemon: &self.daemon, ends: Ends::Told }.once(&self.hasty()).ok();
            if self.points.hits(step) == 0 {
                self.come_by(step, ends_at(step)).ok();
            }
        }
        self.hit(step);
        self.converges(&format!("a delay at {step}"), step, Ends::Told);
        true
    }

    fn hasty(&self) -> CriClient {
        CriClient::with_deadline(&self.daemon.socket(), IMPATIENT)
    }

    /// A shim, or the keeper, dies at its step, at this hit of it. `false`: a life does not come by so often.
    pub fn dies_at(&mut self, step: &str, hit: u64) -> bool {
        self.points.set(step, &format!("kill@{hit}"));
        let went = self.come_by(step, ends_at(step));
        let was_hit = self.points.hits(step) >= hit;
        self.points.clear(step);
        if was_hit {
            match &went {
                Ok(()) => self.unnoticed += 1,
                Err(error) => self.noticed.push(format!("{step} hit {hit}: {error}")),
            }
        }
        let after = format!("a death at {step}, hit {hit} ({went:?})");
        self.converges(&after, step, ends_at(step));
        was_hit
    }

    /// Says how many deaths no caller noticed, and what was told of the others.
    pub fn tell(&self, what: &str) {
        let (unnoticed, noticed) = (self.unnoticed, &self.noticed);
        if unnoticed + noticed.len() > 0 {
            host::figure(&format!(
                "{what}: {unnoticed} deaths unnoticed by the caller; of the others it said: {noticed:#?}"
            ));
        }
    }

    /// Everything is ended; the leak checker looks once more when the daemon is dropped. Returns the runs.
    pub fn end(self) -> usize {
        let Self { daemon, bystander, runs, .. } = self;
        bystander.end(&daemon);
        runs
    }

    fn hit(&self, step: &str) {
        // What is done in the background comes a little later.
        let hit = within(SOON, || (self.points.hits(step) > 0).then_some(()));
        self.points.clear(step);
        assert!(hit.is_some(), "no life comes by {step}");
    }

    /// After a fault: the same request succeeds, nothing is left, the bystander has not noticed.
    fn converges(&mut self, after: &str, step: &str, ends: Ends) {
        self.runs += 1;
        // A daemon that was just started may not serve yet.
        self.pods();
        // A pull that was given up goes on; so it is joined, and its image removed.
        if step.starts_with("pull.") {
            let pulled = within(SOON, || pull_life(self.daemon.client(), &self.registry.1).ok());
            assert!(pulled.is_some(), "after {after}: it can be pulled");
        }
        if is_of_images(step) {
            // The layer that is there already, or a new one: one either way.
            image_life(&self.daemon).unwrap_or_else(|e| panic!("after {after}: {e}"));
            for folder in ["layers", "chains"] {
                assert_eq!(entries(&self.daemon, folder), self.layers, "{after}: {folder}");
            }
            // Layers are numbered; the new one has another number.
            self.daemon.settle();
        }
        self.forget_the_shot();
        Life { daemon: &self.daemon, ends }.converge(&format!("after {after}"));
        self.bystander.check(&self.daemon, after);
        eventually(SOON, "the bystander's shim with the keeper", || (self.daemon.kept() >= 1).then_some(()));
        self.daemon.check_leaks();
    }
}

fn entries(daemon: &Daemon, folder: &str) -> usize {
    let path = daemon.path("root/snapshots").join(folder);
    fs::read_dir(path).expect("the store is there").count()
}

/// Whose step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Daemon,
    Shim,
    Keeper,
}

impl Whose {
    fn of(step: &str) -> Self {
        match step.split('.').next() {
            Some("supervise") => Self::Shim,
            Some("keeper") => Self::Keeper,
            _ => Self::Daemon,
        }
    }
}

/// How a container may end when something happens at this step: only who loses shim and keeper is lost.
fn ends_at(step: &str) -> Ends {
    match step {
        "container.lost" => Ends::ToldOrLost,
        "supervise.signal" => Ends::ToldOrKilled,
        _ if Whose::of(step) == Whose::Keeper => Ends::ToldOrLost,
        _ => Ends::Told,
    }
}

/// Those of the product's steps that a life with this network comes by.
pub fn points(of: Whose, network: Network) -> Vec<Point> {
    let is_wanted = |point: &Point| Whose::of(&point.name) == of && Network::of(&point.name) == network;
    failpoints::points().into_iter().filter(is_wanted).collect()
}

/// Says what was tried.
pub fn say(what: &str, points: usize, runs: usize) {
    host::figure(&format!("{what}: {points} points, {runs} runs, 0 violations"));
}
