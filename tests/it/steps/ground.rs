//! Where the runs take place: a daemon with failpoints, a bystander, and the counts of what was tried.
//!
//! Owns: one run at one point: what happens there, and what must be true afterwards. Never: chooses the points.

use std::{fs, time::Duration};

use cri_api::v1;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tests::{
    ask,
    bystander::Bystander,
    client::CriClient,
    daemon::{Daemon, Options},
    eventually::{eventually, within},
    failpoints::{self, Failpoints, Point},
    host,
    image_file::DEMO,
    limits::SOON,
};

use super::life::{Ends, Life, image_life};

/// How long a step is held up while its caller gives up.
const DELAY: &str = "delay(250)@1";
/// The patience of a caller that gives up: shorter than the delay, longer than a step.
const IMPATIENT: Duration = Duration::from_millis(200);

/// The ground of the runs.
pub struct Ground {
    pub daemon: Daemon,
    points: Failpoints,
    bystander: Bystander,
    /// How many layers there are.
    layers: usize,
    runs: usize,
    unnoticed: usize,
    noticed: Vec<String>,
}

/// Whether the step is one of images.
pub fn is_of_images(step: &str) -> bool {
    step.starts_with("image.") || step.starts_with("layer.")
}

impl Ground {
    /// `None`: this host, or this build, cannot; the test is skipped.
    pub fn new() -> Option<Self> {
        let program = failpoints::program()?;
        let points = Failpoints::default();
        let environment = points.environment();
        let options = Options { program: Some(program), environment, ..Options::default() };
        let mut daemon = Daemon::start_with(options)?;
        let bystander = Bystander::start(&mut daemon)?;
        let layers = entries(&daemon, "layers");
        Some(Self { daemon, points, bystander, layers, runs: 0, unnoticed: 0, noticed: Vec::new() })
    }

    /// The daemon dies at the step; the next one goes on.
    pub fn daemon_dies_at(&mut self, step: &str) {
        self.points.set(step, "kill");
        self.come_by(step, Ends::Told).ok();
        let died = within(SOON, || self.daemon.nursery().ended(self.daemon.pid()));
        self.points.clear(step);
        assert_eq!(died, Some(137), "no life comes by {step}; is it in the list of others?");
        self.daemon.forget();
        self.daemon.launch();
        self.converges(&format!("the daemon's death at {step}"), step, Ends::Told);
    }

    /// The step fails once.
    pub fn fails_at(&mut self, step: &str) {
        self.points.set(step, "fail@1");
        let went = self.come_by(step, ends_at(step));
        self.hit(step);
        let after = format!("a failure at {step} ({})", went.err().unwrap_or_else(|| "not told".to_owned()));
        if is_of_images(step) {
            // What a failed removal leaves of layers is left to the next start.
            self.daemon.restart();
        }
        self.converges(&after, step, ends_at(step));
    }

    /// The step takes longer than its caller waits, who then asks again.
    pub fn is_given_up_at(&mut self, step: &str) {
        self.points.set(step, DELAY);
        if is_of_images(step) {
            image_life(&self.daemon).unwrap_or_else(|e| panic!("a delay at {step}: {e}"));
        } else if step == "recover.begin" {
            self.daemon.restart();
        } else {
            let hasty = CriClient::with_deadline(&self.daemon.socket(), IMPATIENT);
            Life { daemon: &self.daemon, ends: Ends::Told }.once(&hasty).ok();
            if self.points.hits(step) == 0 {
                self.come_by(step, ends_at(step)).ok();
            }
        }
        self.hit(step);
        self.converges(&format!("a delay at {step}"), step, Ends::Told);
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

    /// How many deaths no caller noticed, and what was told of the others.
    pub fn noticed(&self) -> (usize, &[String]) {
        (self.unnoticed, &self.noticed)
    }

    /// Everything is ended; the leak checker looks once more when the daemon is dropped. Returns the runs.
    pub fn end(self) -> usize {
        let Self { daemon, bystander, runs, .. } = self;
        bystander.end(&daemon);
        runs
    }

    fn hit(&self, step: &str) {
        let hits = self.points.hits(step);
        self.points.clear(step);
        assert!(hits > 0, "no life comes by {step}; is it in the list of others?");
    }

    /// Does what comes by this step.
    fn come_by(&mut self, step: &str, ends: Ends) -> Result<(), String> {
        match step {
            "recover.begin" => {
                self.daemon.kill9();
                self.daemon.spawn();
                Ok(())
            }
            "supervise.kill_all" => {
                // The second command of a life is the start of its first container.
                self.points.set("supervise.spawn", "fail@2");
                let went = Life { daemon: &self.daemon, ends }.once(self.daemon.client());
                self.points.clear("supervise.spawn");
                went
            }
            "container.lost" => {
                self.kill_keeper();
                self.with_a_shim(Signal::SIGKILL, true)
            }
            "shim.keeper" => {
                self.kill_keeper();
                Life { daemon: &self.daemon, ends }.once(self.daemon.client())
            }
            "supervise.take_over" | "supervise.taken_over" | "keeper.shim_ended" | "keeper.replaced" => {
                self.with_a_shim(Signal::SIGKILL, false)
            }
            "container.kill_cgroup" => self.with_a_shim(Signal::SIGSTOP, false),
            _ if is_of_images(step) => image_life(&self.daemon),
            _ => Life { daemon: &self.daemon, ends }.once(self.daemon.client()),
        }
    }

    /// SIGKILL for the keeper. The daemon starts another.
    fn kill_keeper(&self) {
        for keeper in self.daemon.nursery().named("taffrail-keeper") {
            kill(Pid::from_raw(keeper.cast_signed()), Signal::SIGKILL).ok();
        }
    }

    /// A container whose shim gets a signal, and that is stopped then; its keeper is killed first where that is asked.
    fn with_a_shim(&self, signal: Signal, without_keeper: bool) -> Result<(), String> {
        let text = |status: tonic::Status| status.to_string();
        let (client, pod) = (self.daemon.client(), ask::pod("shot", &self.daemon.path("logs")));
        let sandbox = client.run_pod_sandbox(ask::run(&pod)).map_err(text)?.pod_sandbox_id;
        let wish = ask::container("c", DEMO, &["sleep", "600"]);
        let id = client.create_container(ask::create(&sandbox, &wish, &pod)).map_err(text)?.container_id;
        client.start_container(ask::start(&id)).map_err(text)?;
        let shims = client.shims().map_err(text)?.containers;
        let shim = shims.iter().find(|shim| shim.container_id == id).ok_or("it has a shim")?;
        if without_keeper {
            self.kill_keeper();
        }
        kill(Pid::from_raw(shim.shim_pid.cast_signed()), signal).map_err(|e| e.to_string())?;
        client.stop_container(ask::stop(&id, 0)).map_err(text)?;
        client.stop_pod_sandbox(ask::stop_pod(&sandbox)).map_err(text)?;
        client.remove_pod_sandbox(ask::remove_pod(&sandbox)).map_err(text)?;
        Ok(())
    }

    /// After a fault: the same request succeeds, nothing is left, the bystander has not noticed.
    fn converges(&mut self, after: &str, step: &str, ends: Ends) {
        self.runs += 1;
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
        self.daemon.check_leaks();
    }

    /// Removes the pod of [`Self::with_a_shim`], where it is there still.
    fn forget_the_shot(&self) {
        let client = self.daemon.client();
        let list =
            eventually(SOON, "a list", || client.list_pod_sandbox(v1::ListPodSandboxRequest::default()).ok());
        for pod in list.items.iter().filter(|pod| pod.metadata.as_ref().is_some_and(|m| m.name == "shot")) {
            client.stop_pod_sandbox(ask::stop_pod(&pod.id)).expect("it can be stopped");
            client.remove_pod_sandbox(ask::remove_pod(&pod.id)).expect("it can be removed");
        }
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

/// Those of the product's steps that a test here comes by.
pub fn points(of: Whose, elsewhere: &[&str]) -> Vec<Point> {
    let is_wanted = |point: &Point| Whose::of(&point.name) == of && !elsewhere.contains(&point.name.as_str());
    failpoints::points().into_iter().filter(is_wanted).collect()
}

/// Says what was tried.
pub fn say(what: &str, points: usize, runs: usize) {
    host::figure(&format!("{what}: {points} points, {runs} runs, 0 violations"));
}
